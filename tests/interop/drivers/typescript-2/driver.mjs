// The official TypeScript SDK 2, in the era that the runner says.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { SERVER, begin, goOn } from "./model.mjs";

const { command, args, env, url, headers, mode } = SERVER;
const transport = command
  ? new StdioClientTransport({ command, args, env })
  : new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
const versionNegotiation = { mode: mode === "legacy" ? mode : { pin: mode } };
const client = new Client({ name: "interop", version: "1" }, { versionNegotiation });
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
