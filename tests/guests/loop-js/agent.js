// Passes on an answer delta by delta, as an agent does that looks at what the model says. Built as `calculator-js` is, and
// measured beside agents that leave it to the host.

import model from "rookery:agent/model@0.1.0";

export const handler = {
    async handle(prompt, reply) {
        const messages = [{ tag: "user", val: [{ tag: "text", val: prompt.text }] }];
        try {
            for await (const delta of model.chat(null, { messages, tools: [], settings: [] }).deltas) {
                if (delta.tag === "failed") throw { payload: delta.val };
                if (delta.tag !== "ended") reply.write(delta);
            }
        } catch ({ payload }) {
            // The model's error is a variant, a refusal one word.
            const tag = payload.tag === "unavailable" ? "unavailable" : "failed";
            throw { tag, val: payload.val ?? payload.tag ?? payload };
        }
    },
};
