"""Content items, and the contents that are not in messages."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.files import RuleSet
from ingest.rules.content import MAX_IMAGE_URL_CHARACTERS
from tests.rules.lines import CHECKED, assistant, broken, chat, image, preference, text, user

JPEG = "data:image/jpeg;base64,"
ITEM = "messages[0].content[0]"


def with_item(item: Any) -> dict[str, Any]:
    return {"messages": [user([item]), assistant([text()])]}


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize(
    ("item", "expected"),
    [
        pytest.param(text("a"), [], id="text"),
        pytest.param(text(""), [], id="empty text"),
        pytest.param(image(), [], id="image"),
        pytest.param({**text(), "x": 1}, [], id="other keys"),
        pytest.param("a", [f"content.item @ {ITEM}"], id="string"),
        pytest.param(None, [f"content.item @ {ITEM}"], id="null"),
        pytest.param([], [f"content.item @ {ITEM}"], id="list"),
        pytest.param({}, [f"content.item @ {ITEM}"], id="no type"),
        pytest.param({"text": "a"}, [f"content.item @ {ITEM}"], id="text without type"),
        pytest.param({"type": "image"}, [f"content.item @ {ITEM}.type"], id="unknown type"),
        pytest.param({"type": "Text"}, [f"content.item @ {ITEM}.type"], id="type in capitals"),
        pytest.param({"type": ["text"]}, [f"content.item @ {ITEM}.type"], id="type in a list"),
        pytest.param({"type": None}, [f"content.item @ {ITEM}.type"], id="type null"),
        pytest.param({"type": "text"}, [f"content.text @ {ITEM}.text"], id="no text"),
        pytest.param(text(None), [f"content.text @ {ITEM}.text"], id="text null"),
        pytest.param(text(1), [f"content.text @ {ITEM}.text"], id="text a number"),
        pytest.param(text(["a"]), [f"content.text @ {ITEM}.text"], id="text a list"),
    ],
)
def test_an_item_is_a_text_or_an_image(item: Any, expected: list[str], rules: RuleSet) -> None:
    assert broken(with_item(item), rules) == expected


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize(
    ("image_url", "path"),
    [
        pytest.param(None, "image_url", id="null"),
        pytest.param("data:image/png;base64,", "image_url", id="string"),
        pytest.param(["a"], "image_url", id="list"),
        pytest.param({}, "image_url.url", id="no url"),
        pytest.param({"url": None}, "image_url.url", id="url null"),
        pytest.param({"url": ""}, "image_url.url", id="url empty"),
        pytest.param({"url": 5}, "image_url.url", id="url a number"),
        pytest.param({"url": ["a"]}, "image_url.url", id="url a list"),
        pytest.param({"URL": "data:image/png;base64,"}, "image_url.url", id="url in capitals"),
    ],
)
def test_an_image_has_a_url(image_url: Any, path: str, rules: RuleSet) -> None:
    item = {"type": "image_url", "image_url": image_url}
    assert broken(with_item(item), rules) == [f"content.image_url @ {ITEM}.{path}"]


@pytest.mark.parametrize("rules", CHECKED)
def test_an_image_item_without_image_url(rules: RuleSet) -> None:
    problems = broken(with_item({"type": "image_url"}), rules)
    assert problems == [f"content.image_url @ {ITEM}.image_url"]


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize(
    ("url", "passes"),
    [
        ("data:image/jpeg;base64,", True),
        ("data:image/png;base64,AAAA", True),
        ("data:image/webp;base64,not base64 at all", True),
        ("data:image/jpg;base64,AAAA", False),
        ("data:image/gif;base64,AAAA", False),
        ("data:image/JPEG;base64,AAAA", False),
        ("DATA:image/jpeg;base64,AAAA", False),
        ("data:image/png;base64", False),
        ("data:image/png,AAAA", False),
        (" data:image/png;base64,AAAA", False),
        ("https://example.com/cat.png", False),
    ],
)
def test_an_image_is_base64_of_a_known_format(url: str, passes: bool, rules: RuleSet) -> None:
    problem = f"content.image_format @ {ITEM}.image_url.url"
    assert broken(with_item(image(url)), rules) == ([] if passes else [problem])


def test_the_image_limit_is_the_vendors() -> None:
    assert MAX_IMAGE_URL_CHARACTERS == len(JPEG) + 4 * (10 * 2**20) // 3 == 13_981_036


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize(("more", "passes"), [(0, True), (1, False)])
def test_an_image_is_at_most_10_mib(more: int, passes: bool, rules: RuleSet) -> None:
    url = JPEG + "A" * (MAX_IMAGE_URL_CHARACTERS - len(JPEG) + more)
    problem = f"content.image_size @ {ITEM}.image_url.url"
    assert broken(with_item(image(url)), rules) == ([] if passes else [problem])


def test_an_image_is_measured_in_code_points_after_unescaping() -> None:
    escaped = JPEG + "\\u0041" * (MAX_IMAGE_URL_CHARACTERS - len(JPEG))
    line = f'{{"text": [{{"type": "image_url", "image_url": {{"url": "{escaped}"}}}}]}}'
    assert broken(line, "standard") == []


@pytest.mark.parametrize(
    ("role", "passes"), [("user", True), ("system", False), ("assistant", False), ("tool", False)]
)
def test_only_users_show_images(role: str, passes: bool) -> None:
    messages = [{"role": role, "content": [image()]}, assistant([text()])]
    problem = f"content.image_role @ {ITEM}"
    assert broken({"messages": messages}, "standard") == ([] if passes else [problem])


@pytest.mark.parametrize("rules", CHECKED)
def test_an_image_of_an_unknown_role_is_not_held_against_it(rules: RuleSet) -> None:
    messages = [{"content": [image()]}, assistant([text()])]
    assert broken({"messages": messages}, rules) == ["message.missing_role @ messages[0]"]


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("a", True),
        ("", True),
        ([], True),
        ([text()], True),
        (None, False),
        (5, False),
        (False, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("key", ["text", "prompt", "completion"])
def test_texts_prompts_and_completions_are_content(
    key: str, value: Any, passes: bool, rules: RuleSet
) -> None:
    record = {"text": "a"} if key == "text" else {"prompt": "a", "completion": "b"}
    record[key] = value
    assert broken(record, rules) == ([] if passes else [f"message.content_type @ {key}"])


@pytest.mark.parametrize("rules", CHECKED)
def test_prompt_and_completion_may_mix_string_and_list(rules: RuleSet) -> None:
    assert broken({"prompt": [image()], "completion": "a"}, rules) == []
    assert broken({"prompt": "a", "completion": [text()]}, rules) == []


@pytest.mark.parametrize("rules", CHECKED)
def test_images_are_for_prompts_and_texts_not_for_completions(rules: RuleSet) -> None:
    assert broken({"text": [image()] * 10}, rules) == []
    assert broken({"text": [image()] * 11}, rules) == ["conversation.too_many_images @ text"]
    assert broken({"prompt": [image()] * 11, "completion": ""}, rules) == [
        "conversation.too_many_images @ prompt"
    ]
    assert broken({"prompt": "a", "completion": [image()]}, rules) == [
        "content.image_role @ completion[0]"
    ]


@pytest.mark.parametrize("rules", CHECKED)
def test_empty_contents_of_a_conversation_have_no_items(rules: RuleSet) -> None:
    assert broken(chat(user("")), rules) == []
    assert broken({"messages": [user([]), assistant([text()])]}, rules) == []


@pytest.mark.parametrize("rules", CHECKED)
def test_images_are_not_for_outputs(rules: RuleSet) -> None:
    record = preference(preferred_output=[assistant([image()])])
    assert broken(record, rules) == ["content.image_role @ preferred_output[0].content[0]"]
