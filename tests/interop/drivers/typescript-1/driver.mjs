// The official TypeScript SDK 1.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { SERVER, begin, goOn } from "./model.mjs";

const { command, args, env, url, headers } = SERVER;
const transport = command
  ? new StdioClientTransport({ command, args, env })
  : new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
const client = new Client({ name: "interop", version: "1" });
await client.connect(transport);
let call = await begin((await client.listTools()).tools);
while (call !== null) {
  try {
    const { content } = await client.callTool({ name: call.tool, arguments: call.arguments });
    call = await goOn(content);
  } catch (error) {
    call = await goOn([{ type: "text", text: String(error) }]);
  }
}
await client.close();
process.exit(0);
