// Fetches as a language does that cannot use wasi:http 0.3. Built as `calculator-js` is. The prompt is a word and URLs.

import fetch from "rookery:agent/fetch@0.1.0";

export const handler = {
    async handle(prompt, reply) {
        const [how, url, other] = prompt.text.split(" ");
        const headers = [["X-From", "JavaScript"]];
        let response;
        switch (how) {
            case "get":
                response = await fetched({ method: "GET", url, headers });
                break;
            case "upload":
                response = await fetched({ method: "POST", url, headers, body: { tag: "streamed", val: pieces() } });
                break;
            case "pass": {
                const { body } = await fetched({ method: "GET", url, headers });
                response = await fetched({ method: "POST", url: other, headers, body: { tag: "streamed", val: body } });
                break;
            }
        }
        const type = new Map(response.headers).get("content-type");
        const said = await text(response);
        reply.write({ tag: "text", val: `${response.status} ${type}\n${said}\nok` });
    },
};

async function fetched(request) {
    return good(await fetch.send(request).read());
}

/** All that a response says, which must be whole. There is no TextDecoder in QuickJS. */
async function text({ body, ended }) {
    let bytes = "";
    for await (const piece of body) bytes += String.fromCharCode(...piece);
    good(await ended.read());
    return decodeURIComponent(escape(bytes));
}

function good({ tag, val }) {
    if (tag === "err") throw { tag: "failed", val: `${val.tag}: ${val.val}` };
    return val;
}

async function* pieces() {
    for (const piece of ["one", "two", "three"]) {
        yield Uint8Array.from(piece, (character) => character.charCodeAt(0));
    }
}
