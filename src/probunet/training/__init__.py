"""The Lightning shells around any model; nothing here knows a particular one."""
