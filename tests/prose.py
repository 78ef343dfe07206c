#!/usr/bin/env python3
"""Counts long sentences, semicolons and odd words in pages and comments, and fails above the limits.

In pages it counts prose alone: no code, tables, headings, addresses of links or comments. The comments of each language
count as one page. Texts of programs, alerts, dashboards and tables are only searched for odd words.
"""

import ast
import io
import re
import sys
import tokenize
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

PAGES = ["*.md", "docs/*.md", "dashboards/*.md", "deploy/**/*.md"]
COMMENTS = {
    "the comments of Rust": ["src/**/*.rs", "tests/it/**/*.rs", "benches/*.rs", "fuzz/fuzz_targets/*.rs"],
    "the comments of Python": ["tests/**/*.py", "benches/*.py", "deploy/**/*.py"],
}
# The tables of pages are among them.
TEXTS = [
    *PAGES,
    *sum(COMMENTS.values(), []),
    *("Makefile", "Cargo.toml", "deny.toml", "build.rs", "tests/*.sh", "benches/*.sh", "fuzz/*.sh"),
    *("dashboards/*.json", "dashboards/**/*.yml", "tests/rules/*.yml", ".github/**/*.yml"),
    *("deploy/**/*.y*ml", "deploy/**/*.tmpl", "deploy/**/*.tpl", "deploy/**/*.txt", "deploy/**/*.tf", "deploy/**/*.sh"),
    *("deploy/systemd/*", "deploy/docker/Dockerfile*"),
]


def main():
    texts = {file: file.read_text() for pattern in PAGES for file in files(pattern)}
    pages = {str(file.relative_to(ROOT)): prose(text) for file, text in texts.items()}
    for name, patterns in COMMENTS.items():
        found = [comments(file) for pattern in patterns for file in files(pattern)]
        pages[name] = without_code("\n\n".join(found))
    complaints = [f"{name}: {complaint}" for name, text in pages.items() for complaint in complaints_of(text)]
    for file in {file: None for pattern in TEXTS for file in files(pattern)}:
        if file != Path(__file__):
            # A comment over several lines is one text.
            text = re.sub(r"\n\s*(?://[/!]?|#)?\s*", " ", file.read_text())
            complaints += [f"{file.relative_to(ROOT)}: {complaint}" for complaint in odd_words(text)]
    print(*complaints, sep="\n", end="\n" if complaints else "")
    sys.exit(bool(complaints))


def files(pattern):
    found = sorted(file for file in ROOT.glob(pattern) if file.is_file())
    assert found, f"no file is like {pattern}"
    return found


def complaints_of(text):
    """The complaints about the prose of a page."""
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


def odd_words(text):
    for pattern, better in INSTEAD.items():
        for match in re.finditer(rf"\b{pattern}\b", text, re.IGNORECASE):
            yield f"“{match[0]}”: write “{better}”"


def prose(page):
    """The sentences of a page in Markdown. Items of a list are paragraphs."""
    page = re.sub(r"^(```|~~~).*?^\1", "\n", page, flags=re.DOTALL | re.MULTILINE)
    page = re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)
    page = re.sub(r"^(?:\||#|<).*$", "\n", page, flags=re.MULTILINE)
    page = re.sub(r"^\s*(?:[-*]|\d+\.)\s", "\n", page, flags=re.MULTILINE)
    page = re.sub(r"\]\([^)]*\)", "]", page)
    return without_code(page)


def without_code(text):
    """A name in code counts as one word."""
    return re.sub(r"`[^`\n]*`", "code", text)


def comments(file):
    """The comments and docstrings of a program. Lines that follow each other are one paragraph."""
    source = file.read_text()
    lines, docstrings = {}, []
    if file.suffix == ".py":
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                docstrings.append(ast.get_docstring(node) or "")
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                lines[token.start[0]] = token.string.strip("#! ")
    else:
        for number, line in enumerate(source.splitlines()):
            if match := re.search(r"(?:^|\s)//[/!]?(?:\s(.*))?$", line):
                lines[number] = match[1] or ""
    joined = [("\n" if number - 1 in lines else "\n\n") + line for number, line in sorted(lines.items())]
    return "\n\n".join(docstrings) + "".join(joined)


if __name__ == "__main__":
    main()
