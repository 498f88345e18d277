// An agent with a tool, as `calculator` is in Rust: the model asks it to add two numbers, and says what it makes of the sum.
//
//     npm install
//     npm run build
//
// makes `calculator-js.wasm` here. `rookery serve` serves it from any folder where its sidecar, `calculator-js.toml`, lies
// beside it.
//
// The world is `contract`, not `plugin`: all of it but the configuration and `wasi:http`, whose `send` is an `async func`, which
// componentize-qjs cannot import; `fetch` stands in for it.
//
// Variants are `{ tag, val }`. An `err` that an import returns is thrown, as the `payload` of an error; one that comes out of
// a future is `{ tag: "err", val }`. What `handle` throws is its failure.

import model from "rookery:agent/model@0.1.0";

/** How often the model is asked for one answer at most; one that never stops using its tool would cost without end. */
const TURNS = 8;

const ADD = {
    name: "add",
    description: "Adds two numbers.",
    parameters: JSON.stringify({
        type: "object",
        properties: { a: { type: "number" }, b: { type: "number" } },
        required: ["a", "b"],
    }),
};

export const handler = {
    async handle(prompt, reply) {
        const messages = [{ tag: "user", val: [{ tag: "text", val: prompt.text }] }];
        for (let turn = 0; turn < TURNS; turn++) {
            const said = await answer(reply, { messages, tools: [ADD], settings: [] });
            if (said.toolCalls.length === 0) return;
            messages.push({ tag: "assistant", val: said });
            for (const call of said.toolCalls) {
                const result = answered(call);
                write(reply, { tag: "tool-result", val: result });
                messages.push({ tag: "tool", val: result });
            }
        }
        throw failed(`asked ${TURNS} times, the model still wants its tool; ask for less at once`);
    },
};

/** Has the model's words passed on to the client, and waits for all that it said. */
async function answer(reply, request) {
    let coming;
    try {
        coming = model.chat(null, request);
    } catch (error) {
        throw failure(error.payload);
    }
    const { tag, val } = await reply.forward(coming).read();
    if (tag === "err") throw failure(val);
    return val.message;
}

/** Does what the model asked for. What is wrong with it is for the model to read, and to mend. */
function answered({ id, name, arguments: json }) {
    const wrong = (why) => ({ id, content: JSON.stringify(why), isError: true });
    if (name !== "add") return wrong("there is only the tool `add`");
    const sum = added(json);
    if (!Number.isFinite(sum)) return wrong("`a` and `b` have to be numbers");
    return { id, content: JSON.stringify(sum), isError: false };
}

function added(json) {
    try {
        const { a, b } = JSON.parse(json);
        return [a, b].every(Number.isFinite) ? a + b : NaN;
    } catch {
        return NaN;
    }
}

function write(reply, chunk) {
    try {
        reply.write(chunk);
    } catch (refusal) {
        throw failed(`what the tool answered was not taken: ${refusal.payload}`);
    }
}

/** What the client is told where the model has no answer. */
function failure({ tag, val }) {
    const later = tag === "unavailable" || tag === "over-budget";
    return later ? { tag: "unavailable", val } : failed(val ?? "the run is over");
}

function failed(why) {
    return { tag: "failed", val: why };
}
