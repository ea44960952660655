"""Which packages a component's code needs, and what they are called where one installs them."""

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

WITH_LFX = frozenset(
    {
        "aiofiles",
        "anyio",
        "bs4",
        "cachetools",
        "cryptography",
        "dateutil",
        "defusedxml",
        "dotenv",
        "emoji",
        "fastapi",
        "httpx",
        "json_repair",
        "jsonschema",
        "langchain",
        "langchain_classic",
        "langchain_core",
        "langchain_text_splitters",
        "langgraph",
        "lfx",
        "markitdown",
        "mcp",
        "networkx",
        "numpy",
        "openpyxl",
        "orjson",
        "packaging",
        "pandas",
        "PIL",
        "platformdirs",
        "psutil",
        "pydantic",
        "pypdf",
        "requests",
        "rich",
        "sqlalchemy",
        "structlog",
        "tenacity",
        "toml",
        "typer",
        "typing_extensions",
        "validators",
        "yaml",
    }
)
"""What components may import because lfx itself installs it (lfx 1.13.0; a test holds the list against it)."""

_DISTRIBUTIONS = {
    "Crypto": "pycryptodome",
    "a2a": "a2a-sdk",
    "agentics": "agentics-py",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "google": "google-genai",
    "googleapiclient": "google-api-python-client",
    "jwt": "pyjwt",
    "PIL": "pillow",
    "psycopg2": "psycopg2-binary",
    "serpapi": "google-search-results",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


@dataclass(frozen=True, slots=True)
class Provider:
    """A model provider of Langflow: the package that speaks to it, and the variable that holds its key."""

    package: str
    variable: str | None


PROVIDERS: Mapping[str, Provider] = {
    "Anthropic": Provider("langchain-anthropic", "ANTHROPIC_API_KEY"),
    "Azure AI Foundry": Provider("langchain-azure-ai", "AZURE_AI_FOUNDRY_API_KEY"),
    "Azure OpenAI": Provider("langchain-openai", "AZURE_OPENAI_API_KEY"),
    "Google Generative AI": Provider("langchain-google-genai", "GOOGLE_API_KEY"),
    "Groq": Provider("langchain-groq", "GROQ_API_KEY"),
    "IBM WatsonX": Provider("langchain-ibm", "WATSONX_APIKEY"),
    "Ollama": Provider("langchain-ollama", None),
    "OpenAI": Provider("langchain-openai", "OPENAI_API_KEY"),
    "OpenRouter": Provider("langchain-openai", "OPENROUTER_API_KEY"),
}
"""The providers that the `model` field of lfx 1.13.0 offers."""


def distribution(module: str) -> str:
    """The name to `pip install` for a module: `bs4` is in beautifulsoup4."""
    top = module.partition(".")[0]
    return _DISTRIBUTIONS.get(top, top.replace("_", "-"))


@dataclass(frozen=True, slots=True)
class Imports:
    """Top-level modules that some code imports: at once, and only when one of its functions runs."""

    at_once: frozenset[str]
    on_use: frozenset[str]


def imports_of(code: str) -> Imports:
    """What `code` imports from outside the standard library and lfx.

    Left out is what code can do without: imports for type checkers, and those whose ImportError it handles.
    Raises SyntaxError.
    """
    at_once: set[str] = set()
    on_use: set[str] = set()
    for module, lazy in _imports(ast.parse(code).body, lazy=False):
        top = module.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in WITH_LFX:
            (on_use if lazy else at_once).add(top)
    return Imports(frozenset(at_once), frozenset(on_use - at_once))


def _imports(body: list[ast.stmt], *, lazy: bool) -> Iterator[tuple[str, bool]]:
    for statement in body:
        match statement:
            case ast.Import(names=names):
                yield from ((name.name, lazy) for name in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module, lazy
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _imports(statement.body, lazy=True)
            case ast.If(test=test) if "TYPE_CHECKING" in ast.unparse(test):
                yield from _imports(statement.orelse, lazy=lazy)
            case ast.Try(handlers=handlers) if any(_forgives_import_error(handler) for handler in handlers):
                yield from _imports([*statement.orelse, *statement.finalbody], lazy=lazy)
            case _:
                for block in _blocks(statement):
                    yield from _imports(block, lazy=lazy)


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        yield getattr(statement, name, [])
    for branch in [*getattr(statement, "handlers", []), *getattr(statement, "cases", [])]:
        yield branch.body


def _forgives_import_error(handler: ast.ExceptHandler) -> bool:
    caught = ast.unparse(handler.type) if handler.type else "Exception"
    catches = any(name in caught for name in ("ImportError", "ModuleNotFoundError", "Exception"))
    return catches and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))
