"""A server of the Model Context Protocol, for assistants and agents. Needs the extra `mcp`."""

from phonesys.mcp.server import Tool, read_tools, serve_stdio
from phonesys.mcp.toolbox import Toolbox

__all__ = ["Tool", "Toolbox", "read_tools", "serve_stdio"]
