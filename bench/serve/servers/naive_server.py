"""`transformers.pipeline` in FastAPI, as a first try has it: a plain function in FastAPI's threads, no batching."""

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

from bench.serve.servers.model import ServerOptions

options = ServerOptions.read()
torch.set_num_threads(options.threads)
app = FastAPI()
ask = pipeline("text-classification", model=str(options.files), dtype=torch.float32, device=options.device)


class Question(BaseModel):
    """One text."""

    text: str


@app.post("/predict")
def predict(question: Question) -> dict[str, object]:
    """Its label and score."""
    found: dict[str, object] = ask(question.text, truncation=True, max_length=options.max_tokens)[0]
    return found


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", access_log=False)
