"""Whether a built site shows itself without a network: nothing is loaded from elsewhere.

How to run: mkdocs build --strict --site-dir FOLDER && python tools/check_site.py FOLDER
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

#: What a browser loads by itself, unlike a link that somebody follows.
ADDRESS = r"=[\"']?((?:https?:)?//[^\"'> ]+)"
LOADED = (
    re.compile(r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc" + ADDRESS),
    re.compile(r"<link\b(?![^>]*rel=[\"']?canonical)[^>]*\bhref" + ADDRESS),
)
#: What the theme's own script would fetch to draw.
DRAWN = re.compile(r"class=[\"']?(mermaid)\b")
STYLE = re.compile(r"(?:@import\s+|url\()[\"']?((?:https?:)?//[^\"')]+)")


def loaded_from_elsewhere(site: Path) -> list[str]:
    """``page: address`` of everything that a page or a style of the site loads from elsewhere."""
    found = []
    for file in sorted(site.rglob("*")):
        patterns = {".html": (*LOADED, DRAWN), ".css": (STYLE,)}.get(file.suffix, ())
        text = file.read_text(encoding="utf-8") if patterns else ""
        for pattern in patterns:
            found += [f"{file.relative_to(site)}: {address}" for address in pattern.findall(text)]
    return found


def main() -> int:
    """Prints what is loaded from elsewhere; the exit code."""
    site = Path(sys.argv[1])
    pages = sorted(site.rglob("*.html"))
    if not pages:
        print(f"{site} holds no page: build the site first", file=sys.stderr)
        return 1
    found = loaded_from_elsewhere(site)
    print("\n".join(found) or f"{len(pages)} pages, nothing is loaded from elsewhere")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
