// The model of every Node client: it shows the runner what the client hands over, and calls what the runner says.

import { createInterface } from "node:readline";

// How the server is reached: `command`, `args` and `env`, or `url` and `headers`; and the client's `mode`.
export const SERVER = JSON.parse(process.env.INTEROP_SERVER);

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
  return JSON.parse((await lines.next()).value);
}

// Say what the model is offered; return its first call.
export const begin = (tools) =>
  ask({ tools: tools.map(({ name, description, inputSchema }) => ({ name, description, parameters: inputSchema })) });

// Say what the model reads as the answer to its call; return the next one.
export const goOn = (content) =>
  ask({
    text: content.filter(({ type }) => type === "text").map(({ text }) => text).join("\n"),
    pictures: content.filter(({ type }) => type === "image").length,
  });
