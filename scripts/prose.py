"""Check the prose of README.md, CONTRIBUTING.md, SECURITY.md and docs/: short sentences, short lines, plain words.

scripts/lint runs this. The limits and the banned words are in prose.yml in the same directory.

- A sentence ends at a full stop, a question mark or an exclamation mark. Headings, list items, table cells and the
  lines between `<br>` begin a sentence of their own. A code span counts as one word, and so does a list of code spans.
  The target of a link does not count.
- A line of prose has at most the given number of columns. Code is exempt, and so are parts that Markdown cannot wrap:
  headings, table rows, comments, and lines that are one link or code span.
- Openings are checked at the beginning of each sentence, but not in headings and table cells. Phrases are checked
  everywhere.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md")
WORDS = Path(__file__).with_name("prose.yml")
MARKDOWN = MarkdownIt("commonmark").enable("table")
BREAK = "\x00"  # stands between two sentences without punctuation
CODE = "`code`"
LABELS = ("heading_open", "th_open", "td_open")
SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"')*]))\s+(?=[\"'(*]*[A-Z0-9`])|\x00")
ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|vs|cf|approx)\.$", re.IGNORECASE)
WORD = re.compile(r"\w")
ONLY_CODE = re.compile(r"(?:`code`[\s,.;]*)+")
CANNOT_WRAP = re.compile(
    r"\s*(?:[|#]|<!-- .* -->$|(?:[-*]|\d+\.)?\s*(?:\[[^]]*\]\([^)]*\)|<?https?://\S+?>?|`[^`]*`)[.,;:]?$)"
)


@dataclass(frozen=True)
class Sentence:
    """A sentence of a page without its markup, and the line of the page on which the sentence begins."""

    line: int
    text: str
    label: bool = False  # a heading or a table cell

    @property
    def words(self) -> int:
        """Return the number of words in the sentence. A list of code spans counts as one word."""
        return 1 if ONLY_CODE.fullmatch(self.text) else sum(bool(WORD.search(word)) for word in self.text.split())


def _plain(inline: Token) -> Iterator[tuple[str, int]]:
    """Yield the parts of an inline Markdown token, each as (text, number of lines before it)."""
    lines = 0
    for child in inline.children or ():
        if child.type == "text":
            yield child.content, lines
        elif child.type == "code_inline":
            yield CODE, lines
        elif child.type in ("softbreak", "hardbreak"):
            lines += 1
            yield " ", lines
        elif child.type == "image":
            yield child.content, lines
        elif child.type == "html_inline" and child.content.startswith("<br"):
            yield BREAK, lines


def sentences(page: str) -> Iterator[Sentence]:
    """Yield the sentences of a page of Markdown, without code blocks."""
    tokens = MARKDOWN.parse(page)
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type != "inline" or not token.map:
            continue
        text, starts = "", []
        for piece, lines in _plain(token):
            starts += [token.map[0] + 1 + lines] * len(piece)
            text += piece
        begin = 0
        for end, following in _ends(text):
            if said := text[begin:end].strip():
                first = begin + len(text[begin:end]) - len(text[begin:end].lstrip())
                yield Sentence(starts[first], said, label=bool(before and before.type in LABELS))
            begin = following


def _ends(text: str) -> Iterator[tuple[int, int]]:
    """Yield two positions in the text for each end of a sentence: that end, and the beginning of the next sentence."""
    for found in SENTENCE_END.finditer(text):
        if not ABBREVIATION.search(text[: found.start()]):
            yield found.start(), found.end()
    yield len(text), len(text)


def long_lines(page: str, columns: int) -> Iterator[tuple[int, int]]:
    """Yield (line number, length) for each line of prose that has more than `columns` columns."""
    code = {
        number
        for token in MARKDOWN.parse(page)
        if token.type in ("fence", "code_block", "html_block") and token.map
        for number in range(*token.map)
    }
    for number, line in enumerate(page.splitlines()):
        if len(line) > columns and number not in code and not CANNOT_WRAP.match(line):
            yield number + 1, len(line)


def _banned(sentence: Sentence, words: dict[str, Any]) -> Iterator[str]:
    """Yield a text for each banned phrase or opening that a sentence uses."""
    said = " ".join(sentence.text.split()).lower()
    for phrase, instead in words["phrases"].items():
        if re.search(rf"(?<!\w){re.escape(phrase.lower())}(?!\w)", said):
            yield f'"{phrase}" is not plain: {instead}'
    for opening, instead in {} if sentence.label else words["openings"].items():
        if re.match(rf"{re.escape(opening.lower())}(?!\w)", said):
            yield f'a sentence begins with "{opening}": {instead}'


def faults(page: str, words: dict[str, Any]) -> list[tuple[int, str]]:
    """Return (line number, text) for each fault of a page."""
    if page.startswith("---\n"):  # replace the front matter by empty lines to keep line numbers
        head, rule, rest = page[4:].partition("\n---\n")
        page = "\n" * (head + rule).count("\n") + "\n" + rest
    found = [
        (number, f"{length} columns: wrap the prose at {words['columns']}")
        for number, length in long_lines(page, words["columns"])
    ]
    for sentence in sentences(page):
        if sentence.words > words["words"]:
            begin = " ".join(sentence.text.split()[:6])
            found.append(
                (
                    sentence.line,
                    f'a sentence of {sentence.words} words ("{begin} …"): make sentences of at most {words["words"]}',
                )
            )
        found += [(sentence.line, wrong) for wrong in _banned(sentence, words)]
    return sorted(found)


def main(root: Path) -> int:
    """Print the faults of all pages; return 0, or 1 when there are any."""
    words: dict[str, Any] = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    pages = sorted({path for pattern in PAGES for path in root.glob(pattern)})
    count = 0
    for page in pages:
        name = str(page.relative_to(root))
        for line, wrong in faults(page.read_text(encoding="utf-8"), words):
            print(f"{name}:{line}: {wrong}")
            count += 1
    if count:
        print(f"{count} faults; the limits and the words are in scripts/prose.yml", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
