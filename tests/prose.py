#!/usr/bin/env python3
"""Counts long sentences, semicolons and odd words in the prose of README and docs, and fails above the limits.

Prose is text alone: no code, tables, headings, links' addresses or comments. In the comments and texts of programs,
alerts and tables only odd words count.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# In a thousand words.
MAX_SEMICOLONS, MAX_CLAUSES = 2, 4
# Of all sentences of a page.
MAX_LONG_SHARE, LONG_SENTENCE = 0.05, 30
# Words that confuse readers, and better ones.
INSTEAD = {
    r"takes? down": "records",
    r"takes? over": "updates from",
    r"decides? over": "overrides",
    r"(?:is|are|counts?) as none": "counts as unset",
    r"cannot be meant": "is invalid",
    r"keeps? (?:nobody|no other) waiting": "does not block",
    r"so many": "the number",
    r"anew": "again",
    r"(?:is|are|was|were|people are) told": "reported, printed",
    r"of (?:its|their) own": "its own, separate",
    r"by turns": "alternately",
    r"of no use with": "cannot be combined with",
    r"stands? in": "is in",
    r"report's word": "the report still counts",
    r"for the sake of": "because of",
}

# Programs and their texts.
PROGRAMS = ["src/**/*.rs", "tests/it/**/*.rs", "deploy/prometheus/source/*.yaml", "docs/metrics.md", "docs/reference.md"]


def main():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
    pages += sorted((ROOT / "docs").glob("*.md"))
    complaints = [
        f"{page.relative_to(ROOT)}: {complaint}"
        for page in pages
        if page.is_file()
        for complaint in complaints_of(page.read_text())
    ]
    for pattern in PROGRAMS:
        for file in sorted(ROOT.glob(pattern)):
            # A comment over several lines is one text.
            text = re.sub(r"\n\s*(?://[/!]?|#)\s*", " ", file.read_text())
            complaints += [f"{file.relative_to(ROOT)}: {complaint}" for complaint in odd_words(text)]
    print(*complaints, sep="\n", end="\n" if complaints else "")
    sys.exit(bool(complaints))


def complaints_of(page):
    """The complaints about a page in Markdown."""
    text = prose(page)
    words = len(re.findall(r"\w[\w'’-]*", text)) or 1
    sentences = [s for s in re.split(r"(?<=[.!?:])\s+|\n\n+", text) if s.strip()]
    long = [s for s in sentences if len(re.findall(r"\w[\w'’-]*", s)) > LONG_SENTENCE]
    if len(long) > MAX_LONG_SHARE * len(sentences):
        share = len(long) / len(sentences)
        first = " ".join(long[0].split())
        yield f"{share:.0%} of the sentences have more than {LONG_SENTENCE} words, such as: {first}"
    for what, pattern, limit in [
        ("semicolons", ";", MAX_SEMICOLONS),
        ("uses of what, where or whoever", r"\b(?:what|where|whatever|wherever|whoever)\b", MAX_CLAUSES),
    ]:
        found = [match.start() for match in re.finditer(pattern, text, re.IGNORECASE)]
        # One is no habit, however short the page.
        if len(found) > max(1, limit * words / 1_000):
            around = " … ".join(" ".join(text[max(0, at - 30) : at + 30].split()) for at in found)
            yield f"{len(found)} {what} in {words} words, of which {limit} in 1,000 are allowed: {around}"
    yield from odd_words(text)


def odd_words(text):
    for pattern, better in INSTEAD.items():
        for match in re.finditer(rf"\b{pattern}\b", text, re.IGNORECASE):
            yield f"“{match[0]}”: write “{better}”"


def prose(page):
    """The sentences of a page. Items of a list are paragraphs."""
    page = re.sub(r"^(```|~~~).*?^\1", "\n", page, flags=re.DOTALL | re.MULTILINE)
    page = re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)
    page = re.sub(r"^(?:\||#|<).*$", "\n", page, flags=re.MULTILINE)
    page = re.sub(r"^\s*(?:[-*]|\d+\.)\s", "\n", page, flags=re.MULTILINE)
    page = re.sub(r"\]\([^)]*\)", "]", page)
    # A name in code counts as one word.
    return re.sub(r"`[^`]*`", "code", page)


if __name__ == "__main__":
    main()
