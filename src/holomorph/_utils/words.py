"""Numbers with their nouns."""


def counted(number: int, noun: str) -> str:
    """Write a number with its noun in the right form.

    >>> counted(0, "sample"), counted(1, "sample"), counted(2000, "class")
    ('no samples', '1 sample', '2,000 classes')
    """
    return f"{f'{number:,}' if number else 'no'} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"
