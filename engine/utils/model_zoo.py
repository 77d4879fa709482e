"""torch's old place of `hub.load_state_dict_from_url`. Nothing is downloaded."""

from __future__ import annotations

from engine.hub import load_state_dict_from_url

__all__ = ["load_state_dict_from_url", "load_url"]

load_url = load_state_dict_from_url
