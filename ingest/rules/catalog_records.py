"""Catalog entries: what a fine-tuning record must be, format by format."""

from __future__ import annotations

from functools import partial

from ingest.rules.rule import CHECKED_RULE_SETS, Rule

_rule = partial(Rule, example_kind="jsonl", purposes=("fine-tune",), rule_sets=CHECKED_RULE_SETS)


def _user_content(content: str, weight: str = "") -> str:
    """A conversation whose user message has the given content."""
    return (
        f'{{"messages": [{{"role": "user", "content": {content}{weight}}}, '
        '{"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}]}'
    )


def _image(url: str = "data:image/png;base64,iVBORw0K") -> str:
    return f'{{"type": "image_url", "image_url": {{"url": "{url}"}}}}'


def _preference(
    messages: str = '[{"role": "user", "content": "Hello"}]',
    preferred: str = '[{"role": "assistant", "content": "Hi!"}]',
) -> str:
    return (
        f'{{"input": {{"messages": {messages}}}, "preferred_output": {preferred}, '
        '"non_preferred_output": [{"role": "assistant", "content": "What?"}]}'
    )


_CHAT = (
    '{"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi!"}]}'
)
_IMAGE_CHAT = _user_content(f"[{_image()}]")

_FORMAT_RULES: tuple[Rule, ...] = (
    _rule(
        code="format.unknown",
        summary="the keys fit one of the four formats",
        explanation="A record is a conversation (messages), an instruction (prompt, completion), "
        "plain text (text) or a preference (input, preferred_output, non_preferred_output). It "
        "has all keys of one of them, spelt exactly so.",
        advice="Rename the keys (conversations -> messages), or restructure the records.",
        good=_CHAT,
        bad='{"conversations": [{"from": "human", "value": "Hello"}]}',
    ),
    _rule(
        code="format.ambiguous",
        summary="the keys fit only one format",
        explanation="A record with the keys of two formats does not say which of them to train on.",
        advice="Drop the keys of all formats but one.",
        good='{"text": "Hello"}',
        bad='{"text": "Hello", "prompt": "Hello", "completion": "Hi!"}',
    ),
    _rule(
        code="format.extra_key",
        summary="a record has no keys but those of its format",
        explanation="Beside its format's keys a record may have none; under standard, a "
        "conversation may have tools. Inside messages, content items, image_url and input, other "
        "keys are free.",
        advice="Drop the key, or move it into a message.",
        good='{"text": "Hello"}',
        bad='{"text": "Hello", "source": "web"}',
    ),
    _rule(
        code="format.mixed",
        summary="all records of a file have the same format",
        explanation="The first record whose keys fit one format sets it for the file.",
        advice="Write one file for each format.",
        good='{"text": "Hello"}\n{"text": "Hi!"}',
        bad='{"text": "Hello"}\n{"prompt": "Hello", "completion": "Hi!"}',
    ),
)

_MESSAGE_RULES: tuple[Rule, ...] = (
    _rule(
        code="messages.not_list",
        summary="messages is a list",
        explanation="A conversation is a list of messages, also if there is only one.",
        advice="Put the messages in a list.",
        good='{"messages": [{"role": "assistant", "content": "Hello"}]}',
        bad='{"messages": {"role": "assistant", "content": "Hello"}}',
    ),
    _rule(
        code="messages.empty",
        summary="messages is not empty",
        explanation="A conversation has at least one message.",
        advice="Leave out records without messages.",
        good=_CHAT,
        bad='{"messages": []}',
    ),
    _rule(
        code="message.not_object",
        summary="each message is an object",
        explanation="A message says who speaks and what: an object with role and content.",
        advice='Turn strings into {"role": ..., "content": ...}.',
        good=_CHAT,
        bad='{"messages": ["Hello", {"role": "assistant", "content": "Hi!"}]}',
    ),
    _rule(
        code="message.missing_role",
        summary="each message has a role",
        explanation="Without role nobody knows who speaks.",
        advice='Add it; data with "from" in its place wants renaming.',
        good=_CHAT,
        bad='{"messages": [{"from": "human", "content": "Hello"}]}',
    ),
    _rule(
        code="message.missing_content",
        summary="each message has content",
        explanation="Under standard an assistant's message may have tool_calls instead, of any "
        "value. Under strict there is always content.",
        advice='Add it; data with "value" in its place wants renaming.',
        good=_CHAT,
        bad='{"messages": [{"role": "user"}, {"role": "assistant", "content": "Hi!"}]}',
    ),
    _rule(
        code="message.weight",
        summary="weight is the integer 0 or 1",
        explanation="A weight says whether a message is trained on. If there is one it is the "
        'integer 0 or 1; 1.0, true, null and "1" are not.',
        advice="Write 0 or 1, or leave the key out.",
        good='{"messages": [{"role": "assistant", "content": "Hello", "weight": 0}]}',
        bad='{"messages": [{"role": "assistant", "content": "Hello", "weight": 1.0}]}',
    ),
    _rule(
        code="message.role",
        summary="role is one of the known roles",
        explanation="A role is system, user or assistant; under standard also tool. Case counts.",
        advice="Rename the role (human -> user, gpt -> assistant).",
        good=_CHAT,
        bad='{"messages": [{"role": "human", "content": "Hello"}]}',
    ),
    _rule(
        code="message.role_order",
        summary="no two messages in a row have the same role",
        explanation="Only strict asks for it: after a system message, user and assistant take "
        "turns.",
        advice="Join the messages, or use --rules standard if you train with a current API.",
        good=_CHAT,
        bad='{"messages": [{"role": "user", "content": "Hello"}, {"role": "user", "content": '
        '"Hello?"}, {"role": "assistant", "content": "Hi!"}]}',
        rule_sets=("strict",),
    ),
    _rule(
        code="message.content_type",
        summary="content is a string or a list of content items",
        explanation="This holds for content, prompt, completion and text. Under standard, null "
        "and empty contents of a conversation's messages are passed over; elsewhere null is not "
        "allowed.",
        advice="Write numbers and objects as strings; leave out records without text.",
        good='{"messages": [{"role": "assistant", "content": "42"}]}',
        bad='{"messages": [{"role": "assistant", "content": 42}]}',
    ),
    _rule(
        code="conversation.no_assistant",
        summary="at least one message is the assistant's",
        explanation="Training learns from what the assistant says. The input of a preference "
        "record needs none.",
        advice="Leave out conversations without an answer.",
        good=_CHAT,
        bad='{"messages": [{"role": "user", "content": "Hello"}]}',
    ),
    _rule(
        code="conversation.mixed_content",
        summary="the contents of a record are all strings, or all lists",
        explanation="Text and multimodal contents cannot be mixed in one record. Under standard, "
        'null, "" and [] count as neither; under strict "" is a string and [] a list.',
        advice='Turn strings into [{"type": "text", "text": ...}] in records with images.',
        good=_IMAGE_CHAT,
        bad='{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}, '
        '{"role": "assistant", "content": "Hi!"}]}',
    ),
    _rule(
        code="conversation.too_many_images",
        summary="a record has at most 10 images",
        explanation="The limit holds for each content, and for all contents of a record "
        "together; a prompt and a completion count apart.",
        advice="Leave images out, or make several records of it.",
        good=_user_content(f"[<<{_image()}, x 9>>{_image()}]"),
        bad=_user_content(f"[<<{_image()}, x 10>>{_image()}]"),
    ),
)

_CONTENT_RULES: tuple[Rule, ...] = (
    _rule(
        code="content.item",
        summary='each content item is an object of type "text" or "image_url"',
        explanation="A list as content holds objects that say what they are.",
        advice='Write {"type": "text", "text": ...} or {"type": "image_url", "image_url": ...}.',
        good=_user_content('[{"type": "text", "text": "Hello"}]'),
        bad=_user_content('["Hello"]'),
    ),
    _rule(
        code="content.text",
        summary="a text item has a string text",
        explanation='An item of type "text" carries its text under the key text.',
        advice="Add the text, or drop the item.",
        good=_user_content('[{"type": "text", "text": ""}]'),
        bad=_user_content('[{"type": "text", "text": null}]'),
    ),
    _rule(
        code="content.image_role",
        summary="images are in user messages only",
        explanation="Models see images and answer with text, so an image in a system, assistant "
        "or tool message, in a completion or in a preferred output is refused.",
        advice="Move the image to a user message.",
        good=_IMAGE_CHAT,
        bad=f'{{"messages": [{{"role": "assistant", "content": [{_image()}]}}]}}',
    ),
    _rule(
        code="content.image_url",
        summary="image_url is an object whose url is a non-empty string",
        explanation='An item of type "image_url" carries its image as {"url": "data:..."}.',
        advice="Put the url in an object.",
        good=_IMAGE_CHAT,
        bad=_user_content('[{"type": "image_url", "image_url": "data:image/png;base64,iVBORw0K"}]'),
    ),
    _rule(
        code="content.image_format",
        summary="images are JPEG, PNG or WebP, as base64 data",
        explanation="url starts with data:image/jpeg;base64, or data:image/png;base64, or "
        "data:image/webp;base64, and case counts. Web addresses are not fetched.",
        advice="Download and encode the image; convert other image formats.",
        good=_IMAGE_CHAT,
        bad=_user_content(f"[{_image('https://example.com/cat.png')}]"),
    ),
    _rule(
        code="content.image_size",
        summary="an image is at most 10 MiB",
        explanation="url has at most 13,981,036 characters: 10 MiB as base64, with its header.",
        advice="Scale the image down, or compress it more.",
        good=_user_content(f"[{_image('data:image/jpeg;base64,<<A x 13,981,013>>')}]"),
        bad=_user_content(f"[{_image('data:image/jpeg;base64,<<A x 13,981,014>>')}]"),
    ),
    _rule(
        code="content.image_weight",
        summary="a message with images has no weight, or weight 0",
        explanation="Only text can be trained on, so a message with images cannot weigh 1.",
        advice="Drop the weight.",
        good=_user_content(f"[{_image()}]", weight=', "weight": 0'),
        bad=_user_content(f"[{_image()}]", weight=', "weight": 1'),
    ),
)

_PREFERENCE_RULES: tuple[Rule, ...] = (
    _rule(
        code="preference.input",
        summary="input is an object with messages",
        explanation="input holds the conversation that both outputs answer.",
        advice='Write {"messages": [...]} under input.',
        good=_preference(),
        bad=_preference().replace(
            '{"messages": [{"role": "user", "content": "Hello"}]}', '"Hello"'
        ),
    ),
    _rule(
        code="preference.last_role",
        summary="the last input message is not the assistant's",
        explanation="The outputs are the assistant's next turn, so somebody else spoke before.",
        advice="Move the assistant's last message out of input.",
        good=_preference(),
        bad=_preference(messages='[{"role": "assistant", "content": "Hello"}]'),
    ),
    _rule(
        code="preference.output",
        summary="each output is a list of exactly one message",
        explanation="preferred_output and non_preferred_output are lists of one object.",
        advice="Put the answer in a list; make several records of several answers.",
        good=_preference(),
        bad=_preference(preferred='{"role": "assistant", "content": "Hi!"}'),
    ),
    _rule(
        code="preference.output_role",
        summary="each output's role is assistant",
        explanation="Outputs are what the model is to prefer saying, or not.",
        advice="Set the role.",
        good=_preference(),
        bad=_preference(preferred='[{"role": "user", "content": "Hi!"}]'),
    ),
    _rule(
        code="preference.output_content",
        summary="each output has content",
        explanation="Under standard an output may have tool_calls instead. A content that is "
        "there is a string or a list, never null, also beside tool_calls.",
        advice="Add the content, or leave the record out.",
        good=_preference(),
        bad=_preference(preferred='[{"role": "assistant"}]'),
    ),
)

RECORD_RULES: tuple[Rule, ...] = (
    *_FORMAT_RULES,
    *_MESSAGE_RULES,
    *_CONTENT_RULES,
    *_PREFERENCE_RULES,
)
