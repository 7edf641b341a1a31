"""The browser of all pages."""

from browsing import browser as browser
