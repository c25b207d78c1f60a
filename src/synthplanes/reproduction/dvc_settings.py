"""Refuse paths in DVC's configuration that DVC would read as something else, and so take to another folder."""

import os
from pathlib import Path

from configobj import ConfigObj, ConfigObjError

from synthplanes.errors import UserError


def check_settings(root: Path) -> None:
    """Raise `UserError` for the first `url` or `dir` in .dvc/config or .dvc/config.local that is not read as written.

    Outside quotes a comma makes a list and # begins a comment; DVC takes file:// for the name of a folder.
    """
    for file in (root / ".dvc" / "config", root / ".dvc" / "config.local"):
        try:
            sections = ConfigObj(str(file), encoding="utf-8") if file.is_file() else ConfigObj()
            sections.dict()  # puts values in place of %(name)s
        except (ConfigObjError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{file} is no configuration of DVC ({reason}): correct it.") from None
        for name, section in sections.items():
            for option in {"url", "dir"} & set(section if isinstance(section, dict) else ()):
                value, where = section[option], f"{file}: the {option} under [{name}]"
                if isinstance(value, list):
                    raise UserError(f"{where} is read as a list of {len(value)}, for it holds a comma: write it in "
                                    "quotes.")
                if comment := section.inline_comments.get(option):
                    raise UserError(f"{where} is read as {value}, for {comment} is a comment there: write the whole in "
                                    "quotes, or the comment on a line of its own.")
                if value.startswith("file:"):
                    raise UserError(f"{where} begins with file:, which DVC takes for the name of a folder: write the "
                                    "plain path of the folder, in quotes.")
                place = (file.parent / os.path.expanduser(value)).resolve()
                if option == "url" and "://" not in value and place.is_relative_to(file.parent.resolve()):
                    raise UserError(f"{where} is read as the folder {place}, within .dvc: write an absolute path, or "
                                    "an address with ://, without variables.")
