"""`GET /v1/models`: the run, and one embedding model for each space that takes texts."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from vectalk.serving.errors import ApiError, Json
from vectalk.serving.replies import ModelReply, ModelsReply
from vectalk.serving.service import Service
from vectalk.space.titles import closest


def embedding_models(service: Service) -> dict[str, str]:
    """Return the ids of the embedding models: id -> space."""
    return {f"{service.name}:{space}": space for space in service.texts}


def check_model(service: Service, name: str, *, chat: bool) -> None:
    """Raise an ApiError where a model is not there, or does something else."""
    known = [service.name] if chat else list(embedding_models(service))
    if name in known:
        return
    others = list(embedding_models(service)) if chat else [service.name]
    does = "embeds texts; it does not answer" if chat else "answers questions; it does not embed texts"
    if name in others:
        raise ApiError(400, f"model {name!r} {does}", param="model", code="wrong_model")
    if not known:
        raise ApiError(
            404,
            f"model {name!r} does not exist: no space of this run takes texts. Fit a read-back with "
            "`vectalk ask RUN QUESTION --bind SLOT=POINT --candidates 2 --encoder minilm` where the run's corpus is",
            param="model",
            code="model_not_found",
        )
    names = ", ".join(closest(name, known) or known)
    raise ApiError(404, f"model {name!r} does not exist; there is {names}", param="model", code="model_not_found")


def model_routes(service: Service) -> APIRouter:
    """Return the routes of models."""
    router = APIRouter(tags=["OpenAI"])

    def entries() -> list[dict[str, Any]]:
        run = service.elm.run.card
        chat = {
            "kind": "chat",
            "spaces": {name: {"dim": space.dim, "rows": len(space)} for name, space in service.elm.spaces.items()},
            "trained": run.llm.trained,
            "wordings": [task.prompts[0] for task in service.elm.suite.tasks],
        }
        models = [_entry(service, service.name, chat)]
        for name, space in embedding_models(service).items():
            models.append(_entry(service, name, {"kind": "embedding", "space": space}))
        return models

    @router.get("/v1/models", summary="List the models", response_class=Json, response_model=ModelsReply)
    def list_models() -> Json:
        return Json({"object": "list", "data": entries()})

    @router.get("/v1/models/{name:path}", summary="Describe one model", response_class=Json, response_model=ModelReply)
    def one_model(name: str) -> Json:
        for entry in entries():
            if entry["id"] == name:
                return Json(entry)
        raise ApiError(404, f"model {name!r} does not exist", param="model", code="model_not_found")

    return router


def _entry(service: Service, name: str, more: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": service.created, "owned_by": "vectalk", "vectalk": more}
