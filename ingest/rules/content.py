"""Content: a string, or a list of text and image items, wherever a record carries it.

Called for messages, prompts, completions, texts and preferred outputs alike. What differs between
them is the role that the content is judged under: only a user may show images.
"""

from __future__ import annotations

from ingest.rules.verdict import Problems, show

IMAGE_PREFIXES = (
    "data:image/jpeg;base64,",
    "data:image/png;base64,",
    "data:image/webp;base64,",
)
MAX_IMAGE_BYTES = 10 * 2**20
# The vendor's own sum: the header, then four characters for three bytes.
MAX_IMAGE_URL_CHARACTERS = len("data:image/jpeg;base64,") + 4 * MAX_IMAGE_BYTES // 3
MAX_IMAGES = 10


def check_content(content: object, role: str | None, path: str, problems: Problems) -> int:
    """Check one content and return how many image items it has.

    Args:
        content: the decoded value. A string passes; null and other types do not.
        role: whose content it is; None when the record does not say, and then no image is held
            against it (the role itself is the problem).
        path: where the content is, for messages.
        problems: receives what is wrong.
    """
    if isinstance(content, str):
        return 0
    if not isinstance(content, list):
        problems.add(
            path,
            "message.content_type",
            f"expected a string or a list of content items, found {show(content)}",
        )
        return 0
    images = 0
    for index, item in enumerate(content):
        images += _check_item(item, role, f"{path}[{index}]", problems)
    if images > MAX_IMAGES:
        problems.add(
            path,
            "conversation.too_many_images",
            f"expected at most {MAX_IMAGES} images in one content, found {images:,}",
        )
    return images


def _check_item(item: object, role: str | None, path: str, problems: Problems) -> int:
    if not isinstance(item, dict):
        problems.add(path, "content.item", f"expected a content item object, found {show(item)}")
        return 0
    expected = 'expected an item of type "text" or "image_url"'
    if "type" not in item:
        problems.add(path, "content.item", f"{expected}, found one without a type")
        return 0
    kind = item["type"]
    if kind == "text":
        _check_text(item, path, problems)
        return 0
    if kind == "image_url":
        _check_image(item, role, path, problems)
        return 1
    problems.add(f"{path}.type", "content.item", f"{expected}, found {show(kind)}")
    return 0


def _check_text(item: dict[str, object], path: str, problems: Problems) -> None:
    if not isinstance(item.get("text"), str):
        found = show(item["text"]) if "text" in item else "none"
        problems.add(f"{path}.text", "content.text", f"expected a string as text, found {found}")


def _check_image(item: dict[str, object], role: str | None, path: str, problems: Problems) -> None:
    if role not in ("user", None):
        problems.add(
            path,
            "content.image_role",
            f'expected images in content of the role "user" only, found one of "{role}"',
        )
    image = item.get("image_url")
    if not isinstance(image, dict):
        found = show(image) if "image_url" in item else "none"
        problems.add(
            f"{path}.image_url",
            "content.image_url",
            f"expected an image_url object with a url, found {found}",
        )
        return
    url = image.get("url")
    path = f"{path}.image_url.url"
    if not isinstance(url, str) or not url:
        found = show(url) if "url" in image else "none"
        problems.add(path, "content.image_url", f"expected a non-empty url string, found {found}")
        return
    if not url.startswith(IMAGE_PREFIXES):
        problems.add(
            path,
            "content.image_format",
            "expected a url that starts with data:image/jpeg;base64, (or png, or webp), "
            f"found {show(url)}",
        )
    if len(url) > MAX_IMAGE_URL_CHARACTERS:
        problems.add(
            path,
            "content.image_size",
            f"expected a url of at most {MAX_IMAGE_URL_CHARACTERS:,} characters "
            f"(an image of 10 MiB), found {len(url):,}",
        )
