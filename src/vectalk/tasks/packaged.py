"""The suites in the package: their names and their YAML."""

from importlib import resources

GENERIC = "generic"  # a template that is filled in for a space; the other suites are complete


def packaged_suites() -> list[str]:
    """Return the names of the complete suites in the package."""
    files = (resources.files("vectalk.tasks") / "suites").iterdir()
    return sorted(f.name[:-5] for f in files if f.name.endswith(".yaml") and f.name != f"{GENERIC}.yaml")


def packaged_text(name: str) -> str:
    """Return the YAML of a suite of the package, with its comments."""
    return (resources.files("vectalk.tasks") / "suites" / f"{name}.yaml").read_text(encoding="utf-8")
