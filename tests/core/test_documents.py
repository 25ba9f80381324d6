"""Files of documents: what is right is read, what is wrong is said at its line and column, and nothing ever raises."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, Field

from watcher.core import yamltree
from watcher.core.documents import MOST_PROBLEMS, Documents, duplicates, read_documents
from watcher.core.models import API_VERSION, Metadata, Model
from watcher.core.rules import RuleSet
from watcher.core.units import Invalid

HEAD = f"apiVersion: {API_VERSION}\nkind: RuleSet\nmetadata: {{name: http}}\n"
GOOD = f"""\
# Rules for HTTP services
apiVersion: {API_VERSION}
kind: RuleSet
metadata: {{name: http}}
spec:
  rules:
    - name: error-rate
      query: |
        sum(rate(x{{color="{{{{ color }}}}"}}[{{{{ window }}}}]))
          / 2
      window: 1m
      threshold: &limit {{above: 1%}}
      for: 30s
    - name: p99
      query: 'max(y)'
      threshold: *limit
      traffic: {{query: "sum(z)", atLeast: 50}}
"""


def shout(text: str) -> str:
    if not text.isupper():
        raise ValueError(f"{text} is too quiet: write {text.upper()}")
    return text


def refuse(text: str) -> str:
    raise ValueError(f"{text} is never right")


class Leaf(Model):
    """One with values of every type that a document may hold."""

    choice: Literal["one", "two"] = "one"
    count: Annotated[int, Field(ge=1, lt=10)] = 1
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    flag: bool = False
    day: date = date(2026, 1, 1)
    at: datetime | None = None
    words: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] = ("a",)
    loud: Annotated[str, AfterValidator(shout)] = "A"
    never: Annotated[str, AfterValidator(refuse)] = ""
    short: Annotated[str, Field(min_length=2, max_length=3)] = "ab"
    code: Annotated[str, Field(pattern="^[a-z]+$")] = "a"
    leaves: dict[str, Leaf] = {}
    either: int | Leaf = 1
    many: list[Annotated[Leaf, Field(description="one of many")]] = []


class Thing(Model):
    """A document of Leaf values."""

    api_version: Literal["watcher.bluegreen.dev/v1alpha1"]
    kind: Literal["Thing"]
    metadata: Metadata
    spec: Leaf


LEAF_KEYS = "choice, count, share, flag, day, at, words, loud, never, short, code, leaves, either, many"
KINDS: dict[str, type[Model]] = {"RuleSet": RuleSet, "Thing": Thing}


def read(text: str) -> Documents:
    return read_documents(text, "f.yaml", KINDS)


def said(text: str) -> list[str]:
    """The problems of a text, without the file's name."""
    found = read(text)
    assert not (found.items and found.problems and "---" not in text)
    return [str(problem).removeprefix("f.yaml:") for problem in found.problems]


def in_spec(text: str) -> list[str]:
    return said(f"apiVersion: {API_VERSION}\nkind: Thing\nmetadata: {{name: a}}\nspec: {text}\n")


def in_rule(text: str) -> list[str]:
    return said(HEAD + "spec:\n  rules:\n    - name: a\n      query: up\n" + text)


@pytest.mark.parametrize(
    ("path", "place"),
    [((), "2:1"), (("spec", "rules", 0, "for"), "13:12"), (("spec", "rules", 1, "nothing"), "14:7")],
)
def test_what_is_wrong_with_a_part_of_a_good_document_is_said_at_that_part(
    path: tuple[str | int, ...], place: str
) -> None:
    (document,) = read(GOOD).items
    assert str(document.problem(Invalid("no", "yes", path=path))) == f"f.yaml:{place}: no: yes"


def test_a_good_file_is_read() -> None:
    found = read(GOOD)
    assert found.problems == []
    (document,) = found.items
    assert (document.kind, document.name, document.namespace) == ("RuleSet", "http", None)
    assert (document.file, document.line) == ("f.yaml", 2)
    assert isinstance(document.model, RuleSet)
    first, second = document.model.spec.rules
    assert first.threshold == second.threshold
    assert first.query is not None
    assert first.query.splitlines()[1] == "  / 2"


def test_several_documents_are_read_and_empty_ones_passed_over() -> None:
    thing = f"kind: Thing\napiVersion: {API_VERSION}\nmetadata: {{name: a, namespace: b}}\nspec: {{}}\n"
    found = read(f"---\n{GOOD}---\n---\n# nothing\n---\n{thing}...\n")
    assert [(document.kind, document.name, document.namespace) for document in found.items] == [
        ("RuleSet", "http", None),
        ("Thing", "a", "b"),
    ]
    assert found.problems == []


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n", "\ufeff", "~x: 1\n---\n"])
def test_an_empty_file_holds_nothing(text: str) -> None:
    assert read(text).items == []


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read("\ufeff" + GOOD).problems == []


def test_a_wrong_document_does_not_hide_a_right_one() -> None:
    found = read(f"{GOOD}---\nkind: RuleSet\napiVersion: {API_VERSION}\n")
    assert [document.name for document in found.items] == ["http"]
    assert [problem.message for problem in found.problems] == ['"metadata" is missing', '"spec" is missing']


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("[]", ['1:1: a document is a mapping, and this is a list: begin it with "apiVersion: ' + API_VERSION + '"']),
        (
            "just text",
            ['1:1: a document is a mapping, and this is "just text": begin it with "apiVersion: ' + API_VERSION + '"'],
        ),
        (
            "kind: RuleSet\nmetadata: {name: a}\nspec: {rules: []}",
            [
                f'1:1: "apiVersion" is missing: add "apiVersion: {API_VERSION}"',
                "3:15: a list is too short: write at least 1",
            ],
        ),
        (
            "apiversion: x\nkind: Thing\nmetadata: {name: a}\nspec: {}",
            [
                '1:1: "apiVersion" is missing: did you write "apiversion" for it?',
                '1:1: unknown key "apiversion": did you mean "apiVersion"?',
            ],
        ),
        (
            "apiVersion: watcher.bluegreen.dev/v1\nkind: Thing\nmetadata: {name: a}\nspec: {}",
            [
                '1:13: "watcher.bluegreen.dev/v1" is no apiVersion that is known here: did you mean "'
                + API_VERSION
                + '"?',
            ],
        ),
        (
            f"apiVersion: {API_VERSION}\nkind: Ruleset",
            [
                '1:1: "metadata" is missing: add "metadata: ..."',
                '1:1: "spec" is missing: add "spec: ..."',
                '2:7: "Ruleset" is no kind that is known here: did you mean "RuleSet"?',
            ],
        ),
        (
            f"apiVersion: {API_VERSION}\nkind: [Pod]",
            [
                '2:7: a list is no kind that is known here: write "kind: RuleSet" or "kind: Thing"',
            ],
        ),
        (
            f"apiVersion: {API_VERSION}\nkind: Deployment",
            [
                '2:7: "Deployment" is no kind that is known here: write "kind: RuleSet" or "kind: Thing"',
            ],
        ),
        (f"apiVersion: {API_VERSION}", ['1:1: "kind" is missing: add "kind: RuleSet" or "kind: Thing"']),
    ],
)
def test_the_head_of_a_document_is_checked(text: str, problems: list[str]) -> None:
    assert said(text) == problems


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("{chioce: one}", ['4:8: unknown key "chioce": did you mean "choice"?']),
        (
            "{xyzzy: one}",
            [
                '4:8: unknown key "xyzzy": the keys here are ' + LEAF_KEYS,
            ],
        ),
        ("{leaves: {a: {leaves: {b: {cuont: 1}}}}}", ['4:34: unknown key "cuont": did you mean "count"?']),
        (
            "{either: {cuont: 1}}",
            [
                '4:17: unknown key "cuont": did you mean "count"?',
            ],
        ),
        ("{many: [{cuont: 1}]}", ['4:16: unknown key "cuont": did you mean "count"?']),
        ("{choice: on}", ['4:16: "on" is not one of one, two: did you mean "one"?']),
        ("{choice: xyzzy}", ['4:16: "xyzzy" is not one of one, two: write one of them']),
        ("{choice: []}", ["4:16: a list is not one of one, two: write one of them"]),
        ("{count: 1.5}", ['4:15: 1.5 is not a whole number: write one such as "3", without quotes']),
        ("{count: '1'}", ['4:15: "1" is not a whole number: write 1, without quotes']),
        ("{count: 0}", ["4:15: 0 is too small: write at least 1"]),
        ("{count: 10}", ["4:15: 10 is too large: write less than 10"]),
        ("{share: 0}", ["4:15: 0 is too small: write more than 0.0"]),
        ("{share: 1.5}", ["4:15: 1.5 is too large: write at most 1.0"]),
        ("{share: .inf}", ['4:15: ".inf" is not a number: write one such as "0.5", without quotes']),
        ("{share: 1e999}", ['4:15: "1e999" is not a number: write one such as "0.5", without quotes']),
        ("{flag: yes}", ['4:14: "yes" is not true or false: write one of them, without quotes']),
        ("{flag: ~}", ["4:14: nothing is not true or false: write one of them, without quotes"]),
        ("{day: tomorrow}", ['4:13: "tomorrow" is not a date: write one such as "2026-12-20"']),
        ("{at: noon}", ['4:12: "noon" is not a time: write one such as "2026-12-20T09:00:00Z"']),
        ("{words: a}", ['4:15: "a" is not a list: write items that begin with "- ", or put them in [ ]']),
        (
            "{words: [1.10, true]}",
            [
                '4:16: 1.10 is not a text: put it in quotes: "1.10"',
                '4:22: true is not a text: put it in quotes: "true"',
            ],
        ),
        ("{words: [a, b, c]}", ["4:15: a list is too long: write at most 2"]),
        ("{words: []}", ["4:15: a list is too short: write at least 1"]),
        (
            "{either: []}",
            ['4:16: a list is neither a whole number nor a mapping: write one such as "3", without quotes'],
        ),
        ("{either: {count: '2'}}", ['4:24: "2" is not a whole number: write 2, without quotes']),
        ("{either: 0.5}", ['4:16: 0.5 is neither a whole number nor a mapping: write one such as "3", without quotes']),
        ("{loud: hm}", ["4:14: hm is too quiet: write HM"]),
        ("{never: hm}", ["4:15: hm is never right: correct it"]),
        ("{loud: }", ["4:8: nothing is not a text: write a text"]),
        ("{loud: {}}", ["4:14: a mapping is not a text: write a text"]),
        ("{short: a}", ['4:15: "a" is too short: write at least 2 characters']),
        ("{short: abcd}", ['4:15: "abcd" is too long: write at most 3 characters']),
        ("{code: A1}", ['4:14: "A1" does not look like ^[a-z]+$: correct it']),
        ("7", ['4:7: 7 is not a mapping: write keys and values, as in "key: value"']),
        ("", ['4:1: nothing is not a mapping: write keys and values, as in "key: value"']),
        ("{leaves: []}", ['4:16: a list is not a mapping: write keys and values, as in "key: value"']),
        (
            "{<<: {}}",
            [
                '4:8: unknown key "<<": the keys here are ' + LEAF_KEYS,
            ],
        ),
    ],
)
def test_a_wrong_value_is_said_with_its_place_and_cure(text: str, problems: list[str]) -> None:
    assert in_spec(text) == problems


@pytest.mark.parametrize(
    "text",
    [
        "{count: 0x5, share: 1e-1, flag: True, day: 2026-12-20, at: 2026-12-20T09:00:00Z, words: [on, '1']}",
        "{count: 0o7, share: .5, words: [22:00, ! 3]}",
        "{count: +7, choice: &it two, words: [*it, !!str 5]}",
        "\n  words:\n    - |\n      a\n    - b",
    ],
)
def test_yaml_is_read_as_version_1_2(text: str) -> None:
    assert in_spec(text) == []


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("      treshold: {above: 1%}\n", ['8:7: unknown key "treshold": did you mean "threshold"?']),
        (
            "      window: 1m\n",
            ["6:7: a rule has no threshold, compare or burnRate: write exactly one of threshold, compare, burnRate"],
        ),
        (
            "      threshold: {above: 1%}\n      for: 5mn\n",
            ['9:12: "5mn" is no duration: did you mean "5m"? (units: ms s m h d w)'],
        ),
        (
            "      threshold: {above: 1%}\n      for: 1m\n      onNoData: brech\n",
            ['10:17: "brech" is not one of hold, pass, breach: did you mean "breach"?'],
        ),
        ("      threshold: {outside: [1]}\n", ["8:28: item 2 is missing: add it"]),
        (
            "      threshold: {above: 1%}\n      compare: {tolerance: {relative: 20%, absolute: 50ms}}\n",
            ["9:16: a rule has threshold and compare: write exactly one of threshold, compare, burnRate"],
        ),
        (
            "      burnRate: {objective: 99.9%, bad: 'x[{{ window }}]', total: 'y[{{ window }}]'}\n",
            ['7:14: "query" has no meaning beside burnRate: leave it out: it is made of bad and total'],
        ),
        (
            "      compare: {with: [befor]}\n",
            [
                '8:16: "tolerance" is missing: add "tolerance: ..."',
                '8:24: "befor" is not one of before, yesterday, lastWeek: did you mean "before"?',
            ],
        ),
        (
            "      burnRate: {objectve: 99%, bad: 'x', total: 'y[{{ window }}]'}\n",
            [
                '8:18: unknown key "objectve": did you mean "objective"?',
                '8:38: this is asked over two windows and names none: write "[{{ window }}]" for its range',
            ],
        ),
        (
            "      threshold: {above: 1%}\n      for: 1m\n      breaches: {count: 1, of: 2}\n",
            ['10:17: a rule has "for" and "breaches": write one of them'],
        ),
        (
            "      threshold: {above: 1%}\n      onError: breach\n",
            [
                (
                    '9:16: "onError: breach" without "for" would roll back at the first gap: '
                    'write how long it must last, as in "for: 2m"'
                ),
            ],
        ),
        (
            "      threshold: {above: 1%}\n    - name: a\n      query: up\n      threshold: {above: 1%}\n",
            ['9:13: a second rule is called "a": give each rule a name of its own'],
        ),
        (
            (
                "      threshold: {above: 1%}\n      burnRate: {objective: 99%, bad: 'x[{{ window }}]', total: "
                "'y[{{ window }}]'}\n      for: 1m\n      breaches: {count: 1, of: 2}\n"
            ),
            [
                "9:17: a rule has threshold and burnRate: write exactly one of threshold, compare, burnRate",
                '11:17: a rule has "for" and "breaches": write one of them',
            ],
        ),
        (
            (
                "      compare: {tolerance: {relative: 20%, absolute: 1}}\n      onNoData: breach\n"
                "      traffic: {query: 'x{v=\"{{ version }}\"}', atLeast: 1}\n"
            ),
            [
                (
                    '9:17: "onNoData: breach" beside compare would go back when only the past is missing: give the new '
                    "colour's data a rule with a threshold"
                ),
                (
                    '9:17: "onNoData: breach" without "for" would roll back at the first gap: write how long it must '
                    'last, as in "for: 2m"'
                ),
                (
                    "10:24: before the switch another version was live, and this asks for the new one's past: "
                    'take "{{ version }}" out'
                ),
            ],
        ),
        (
            "      threshold: {above: 1%}\n    - {}\n    - 7\n",
            [
                '9:7: "name" is missing: add "name: ..."',
                '10:7: 7 is not a mapping: write keys and values, as in "key: value"',
            ],
        ),
    ],
)
def test_a_wrong_rule_is_said_with_its_place_and_cure(text: str, problems: list[str]) -> None:
    assert in_rule(text) == problems


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param(
            "      treshold: {abov: 1%}\n      for: 1m\n      breaches: {count: 3, of: 2}\n",
            [
                '8:7: unknown key "treshold": did you mean "threshold"?',
                '8:18: unknown key "abov": did you mean "above"?',
                "10:25: 3 of 2 can never be: write a count of at most 2",
            ],
            id="below a misspelled key",
        ),
        pytest.param(
            "      treshold: {above: 1%}\n      for: 1m\n      breaches: {count: 1, of: 2}\n",
            [
                '8:7: unknown key "treshold": did you mean "threshold"?',
                '10:17: a rule has "for" and "breaches": write one of them',
            ],
            id="between the keys of a rule",
        ),
        pytest.param(
            "      threshold: {above: 1%}\n      colour: blue\n    - name: a\n      query: up\n"
            "      threshold: {above: 1%}\n",
            [
                (
                    '9:7: unknown key "colour": the keys here are name, description, query, window, threshold, '
                    "compare, burnRate, for, breaches, traffic, reduce, warmUp, onBreach, onNoData, onError, lint"
                ),
                '10:13: a second rule is called "a": give each rule a name of its own',
            ],
            id="between the rules of a set",
        ),
        pytest.param(
            "      threshold: {above: 1sec}\n      onNoData: breach\n",
            ['8:26: "1sec" has an unknown unit: did you mean "1s"?'],
            id="but nothing is said of what was cut out: not that a rule lacks its threshold",
        ),
        pytest.param(
            "      threshold: {above: 1%}\n      for: 1mn\n      onNoData: breach\n",
            ['9:12: "1mn" is no duration: did you mean "1m"? (units: ms s m h d w)'],
            id="nor that it lacks its for",
        ),
        pytest.param(
            "      threshold: {above: 1%}\n      for: 1m\n      For: 2m\n      breaches: {count: 1, of: 2}\n",
            [
                '10:7: unknown key "For": did you mean "for"?',
                '11:17: a rule has "for" and "breaches": write one of them',
            ],
            id="a misspelled key beside the right one",
        ),
    ],
)
def test_what_a_mistake_hides_is_said_as_well(text: str, problems: list[str]) -> None:
    assert in_rule(text) == problems


def test_mistakes_within_mistakes_are_said_to_a_depth_at_which_nobody_reads_on() -> None:
    text = f"apiVersion: {API_VERSION}\nkind: RuleSet\nmetadata: {{name: a}}\n"
    text += "specs: {ruls: [{name: a, query: up, tresholds: {abov: 1}}]}\n"
    said = [(problem.column, problem.cure) for problem in read(text).problems]
    assert said == [
        (1, 'did you mean "spec"?'),
        (9, 'did you mean "rules"?'),
        (37, 'did you mean "threshold"?'),
    ]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ('up{a="{{ colour }}"}', "6:22"),
        ("'up{a=\"{{ colour }}\"}'", "6:23"),
        ("|\n        up{\n          a='{{ colour }}'}", "8:14"),
        ("|-\n\n        up{a='{{ colour }}'}", "8:15"),
        (">\n        up{\n          a='{{ colour }}'}", "6:16"),
        ('"up{a=\\"{{ colour }}\\"}"', "6:16"),
        ("'up{b=\"it''s\",a=\"{{ colour }}\"}'", "6:16"),
        ("up{a=\n        '{{ colour }}'}", "6:16"),
    ],
)
def test_a_wrong_placeholder_is_said_where_it_stands(query: str, place: str) -> None:
    text = f"{HEAD}spec:\n  rules:\n    - query:   {query}\n      name: a\n      threshold: {{above: 1}}\n"
    if ": a='" in text or 'b="it' in query:
        pass
    assert [line.split(": ")[0] for line in said(text)] == [place]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a:\n\tb: c", "2:1: a tab stands where YAML takes only spaces: indent with spaces"),
        ("a: @b", "1:4: a text begins with a character that YAML reserves: put the text in quotes"),
        ("a: b: c", '1:5: a ":" stands where none can: put the text in quotes, or begin a new line'),
        ("a: 1\nb\nc: 2", '2:1: this key has no value: write "key: value"'),
        ("a: 'x", "1:4: this quote is not closed: close it"),
        ('a: "\\q"', "1:6: this is no escape in YAML: double the backslash, or use single quotes"),
        (
            "a:\n  b: 1\n c: 2",
            "3:2: this line is indented unlike its neighbours: give lines of one level one indentation",
        ),
        ("{a: b}\nc: d", "2:1: this does not belong to what stands above it: indent it like its neighbours"),
        ("a: |%\n  b", "1:5: something stands behind | or > on its line: begin the text in a new line"),
        ("a: ]", "1:4: a value is missing here: write it, or put it in quotes"),
        ("a: ? b", '1:4: a "?" stands where none can: put the text in quotes'),
        ("a: [1, 2", "1:4: this bracket or brace is not closed: close it, or add a comma"),
        ("a: !x!y z", "1:4: this is not YAML (found undefined tag handle '!x!'): correct the syntax"),
        (
            "%YAML 3.0\n---\na: b",
            "1:1: this is not YAML (found incompatible YAML document (version 1.* is required)): correct the syntax",
        ),
        (
            'x: 1\na: "\\U99999999"',
            "2:1: YAML cannot be read from here on (Python int too large to convert to C int): correct what follows",
        ),
        ("a: \x00", "1:4: the character U+0000 cannot stand in YAML: take it out"),
        ("x: 1\na: \ud800", "2:4: the character U+D800 cannot stand in YAML: take it out"),
        ('a: "\\ud800"', "1:4: this text holds half a character (\\ud800 to \\udfff): write all of it"),
        (
            "a: 1\nb: 2\na: 3",
            '3:1: the key "a" stands here a second time (first in line 1): keep one of them',
        ),
        ("a: *b", "1:4: the alias *b has no anchor: write &b above it"),
        ("a: &a [*a]", "1:8: the alias *a stands inside its own anchor: write the value itself"),
        ("a: &a 1\n---\nb: *a", "3:4: the alias *a has no anchor: write &a above it"),
        (
            "a: !!python/name:os.system x",
            '1:4: the tag "tag:yaml.org,2002:python/name:os.system" means nothing here: take it out',
        ),
        ("a: !point [1]", '1:4: the tag "!point" means nothing here: take it out'),
        ("a: !!set {b}", '1:4: the tag "tag:yaml.org,2002:set" means nothing here: take it out'),
        (
            "a: {{ color }}",
            (
                "1:5: a list or mapping stands where a key should: write a text; a placeholder such as "
                '"{{ color }}" needs quotes'
            ),
        ),
        ("[" * 200, "1:41: this is nested more than 40 deep, aliases expanded: flatten it"),
        ("a: " + "{a: " * 100, "1:157: this is nested more than 40 deep, aliases expanded: flatten it"),
        ("x" * (yamltree.LONGEST + 1), "1:1: the file has 1048577 characters: keep it under 1048576"),
    ],
)
def test_broken_yaml_is_said_with_its_place_and_cure(text: str, problem: str) -> None:
    assert problem in said(text)


def test_what_aliases_expand_to_is_bounded() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "5:17: there are more than 50000 values, aliases expanded: split the file" in said(bomb)
    chain = "a: &a [1]\n" + "".join(f"n{index}: &n{index} [*n{index - 1}]\n" for index in range(1, 60))
    chain = chain.replace("*n0", "*a")
    assert any("is nested more than 40 deep, aliases expanded" in problem for problem in said(chain))


def test_a_broken_file_gives_no_document_at_all() -> None:
    found = read(GOOD + "---\na: [")
    assert found.items == []
    assert len(found.problems) == 1


def test_so_many_problems_are_said_and_no_more() -> None:
    found = read(HEAD + "".join(f"k{index}: 1\n" for index in range(150)))
    assert len(found.problems) == MOST_PROBLEMS + 1
    assert str(found.problems[-1]) == "f.yaml:103:1: 51 more problems follow: correct these first"


def test_the_same_document_twice_is_a_problem() -> None:
    first, second = read(GOOD).items, read_documents(f"\n{GOOD}", "g.yaml", KINDS).items
    assert duplicates(first) == []
    assert [str(problem) for problem in duplicates(first + second)] == [
        'g.yaml:3:1: a second RuleSet "http" (the first is in f.yaml:2): give it a name of its own'
    ]


def test_documents_without_metadata_have_no_name() -> None:
    class Bare(Model):
        api_version: str
        kind: str

    (document,) = read_documents(f"apiVersion: {API_VERSION}\nkind: Bare", "f", {"Bare": Bare}).items
    assert (document.name, document.namespace) == ("", None)
    other = read_documents("apiVersion: apps/v1\nkind: Bare", "f", {"Bare": Bare})
    assert (other.items, [problem.line for problem in other.problems]) == ([], [1])


def well_said(found: Documents, text: str) -> bool:
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 2
    return all(
        1 <= problem.line <= lines
        and problem.column >= 1
        and problem.message
        and problem.cure
        and "\n" not in str(problem)
        for problem in found.problems
    )


PIECES = [
    "\t", "  ", "\n", "- ", ": ", "{", "}", "[", "]", "&a ", "*a", "|", ">", "'", '"', "#", "---\n", "!!x ", "%", "\\",
    "{{", "}}", "~", "1e999", ".nan", "null", "0x", "\x00", "\ud800", "é", "🚀", "<<: ", "? ", "@", "`",
]  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 20), st.sampled_from(PIECES) | st.text(max_size=5))),
    st.sampled_from([GOOD, GOOD + "---\n" + GOOD]),
)
@settings(deadline=None)
def test_any_mutation_of_a_good_file_is_read_or_refused(edits: list[tuple[int, int, str]], text: str) -> None:
    for place, length, piece in edits:
        text = text[:place] + piece + text[place + length :]
    found = read(text)
    assert found.items or found.problems or yamltree.read(text).roots == []
    assert well_said(found, text)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(given_bytes: bytes) -> None:
    text = given_bytes.decode("utf-8", "replace")
    assert well_said(read(text), text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(Leaf.model_fields)) | st.text(), inner),
    max_leaves=12,
)


@given(JSON)
def test_any_value_in_a_spec_is_read_or_refused(value: Any) -> None:
    text = f"apiVersion: {API_VERSION}\nkind: Thing\nmetadata: {{name: a}}\nspec: {json.dumps(value)}\n"
    found = read(text)
    assert bool(found.items) != bool(found.problems)
    assert well_said(found, text)
