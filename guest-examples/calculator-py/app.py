"""An agent with a tool, as `calculator` is in Rust: the model asks it to add two numbers, and says what it makes of the sum.

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/componentize-py -d ../../wit -w rookery:agent/plugin componentize app -o calculator-py.wasm

makes `calculator-py.wasm` here. `rookery serve` serves it from any folder where its sidecar, `calculator-py.toml`, lies
beside it. With `bindings .` in place of `componentize …`, `wit_world` is written here, for an editor to look at.

An `err` that an import returns is raised as `Err`; one that comes out of a future is an `Err` too, and not raised. What
`handle` raises as `Err` is its failure.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import model
from wit_world.imports.model import Message_Assistant, Message_Tool, Message_User, Part_Text, Request, Tool
from wit_world.imports.output import Reply
from wit_world.imports.rookery_agent_types import (
    Chunk_ToolResult, Failure_Failed, Failure_Unavailable, Prompt, ToolCall, ToolResult
)

# How often the model is asked for one answer at most; one that never stops using its tool would cost without end.
TURNS = 8

ADD = Tool(
    name="add",
    description="Adds two numbers.",
    parameters=json.dumps({
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    }),
)


class Handler(exports.Handler):
    async def handle(self, prompt: Prompt, reply: Reply) -> None:
        messages: list[model.Message] = [Message_User([Part_Text(prompt.text)])]
        for _ in range(TURNS):
            said = await answer(reply, Request(messages, tools=[ADD], settings=[]))
            if not said.tool_calls:
                return
            messages.append(Message_Assistant(said))
            for call in said.tool_calls:
                result = answered(call)
                write(reply, Chunk_ToolResult(result))
                messages.append(Message_Tool(result))
        raise failed(f"asked {TURNS} times, the model still wants its tool; ask for less at once")


async def answer(reply: Reply, request: Request) -> model.Assistant:
    """Has the model's words passed on to the client, and waits for all that it said."""
    try:
        coming = model.chat(None, request)
    except Err as error:
        raise failure(error.value)
    result = await reply.forward(coming).read()
    if isinstance(result, Err):
        raise failure(result.value)
    return result.value.message


def answered(call: ToolCall) -> ToolResult:
    """Does what the model asked for. What is wrong with it is for the model to read, and to mend."""
    if call.name != "add":
        return ToolResult(call.id, json.dumps("there is only the tool `add`"), is_error=True)
    try:
        return ToolResult(call.id, total(call.arguments), is_error=False)
    except (KeyError, TypeError, ValueError):
        return ToolResult(call.id, json.dumps("`a` and `b` have to be numbers"), is_error=True)


def total(arguments: str) -> str:
    numbers = json.loads(arguments)
    a, b = numbers["a"], numbers["b"]
    if not {type(a), type(b)} <= {int, float}:
        raise TypeError
    # An infinity is a number to Python, but not to JSON.
    return json.dumps(a + b, allow_nan=False)


def write(reply: Reply, chunk: Chunk_ToolResult) -> None:
    try:
        reply.write(chunk)
    except Err as refusal:
        raise failed(f"what the tool answered was not taken: {refusal.value.name.lower()}")


def failure(error: model.Error) -> Err:
    """What the client is told where the model has no answer."""
    match error:
        case model.Error_Unavailable(why) | model.Error_OverBudget(why):
            return Err(Failure_Unavailable(why))
        case model.Error_Rejected(why) | model.Error_NotGranted(why):
            return failed(why)
        case _:
            return failed("the run is over")


def failed(why: str) -> Err:
    return Err(Failure_Failed(why))
