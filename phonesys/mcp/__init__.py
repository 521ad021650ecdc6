"""A server of the Model Context Protocol, for assistants and agents. Needs the extra `mcp`."""

from phonesys.mcp.server import Tool, read_tools, serve_stdio, write_tools
from phonesys.mcp.toolbox import Toolbox
from phonesys.mcp.writing import Writer

__all__ = ["Tool", "Toolbox", "Writer", "read_tools", "serve_stdio", "write_tools"]
