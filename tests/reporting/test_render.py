import re
import subprocess
import sys

import pytest

import hand_made as cases
from holomorph.errors import ConfigError
from holomorph.reporting import render, report
from holomorph.reporting.parts import PARTS

RECORDS = cases.all_records()


@pytest.fixture(scope="module")
def page() -> str:
    return render(RECORDS)


def sections(html: str) -> list[str]:
    return re.findall(r'<section[^>]* id="(\w+)"', html)


def test_every_part_stands_in_its_place(page):
    assert sections(page) == [part.name for part in PARTS if part.name != "comparison"]  # that is a page of its own


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([cases.training()], ["summary", "training", "provenance"]),
        ([cases.evaluation()], ["summary", "accuracy", "gallery", "checks", "provenance"]),
        ([cases.evaluation(checks=(), gallery=(), baseline=None)], ["summary", "accuracy", "provenance"]),
        ([cases.diagnostics()], ["gradients"]),
    ],
    ids=["training", "evaluation", "bare evaluation", "diagnostics"],
)
def test_parts_whose_record_is_missing_are_left_out(records, expected):
    assert sections(render(records)) == expected


def test_nothing_to_report_is_an_error():
    with pytest.raises(ConfigError, match="There is nothing to report"):
        render([])


def test_text_from_records_is_escaped():
    html = render([cases.training(data="<script>alert(1)</script>")], title="a <b> & c")
    assert "<script" not in html
    assert "a &lt;b&gt; &amp; c" in html


def test_the_page_asks_nothing_of_a_network_and_every_image_speaks(page):
    assert re.findall(r'(?:src|href)="(?!data:|#)', page) == []
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) > 20
    assert all(re.search(r'alt="[^"]+"', image) for image in images)


def test_the_page_is_written_where_asked_and_the_same_records_give_the_same_page(page, tmp_path):
    path = report(RECORDS, tmp_path / "deep" / "report.html")
    assert path.read_text(encoding="utf-8") == page


@pytest.mark.slow
def test_the_public_name_is_callable_after_the_package_of_that_name_was_imported(tmp_path):
    program = (
        "import holomorph.reporting, holomorph; from holomorph.errors import ConfigError\n"
        f"try: holomorph.report([], {str(tmp_path / 'r.html')!r})\n"
        "except ConfigError as error: raise SystemExit(7)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7
