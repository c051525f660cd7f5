"""The tools that come with curb: files under a root, the web by allow-list, and people."""

from activities.toolbox.builtin.files import list_files, read_file, write_file
from activities.toolbox.builtin.people import ask_human
from activities.toolbox.builtin.web import http_get

BUILTINS = (read_file, list_files, write_file, http_get, ask_human)

__all__ = ["BUILTINS", "ask_human", "http_get", "list_files", "read_file", "write_file"]
