// A Node program with OpenAI's client, as somebody has it who knows nothing of curb:
// `node client.js SCENE URL MODEL AGENT`. Prints one JSON document a line.

import OpenAI from "openai";

const [scene, url, model, agent] = process.argv.slice(2);
const client = new OpenAI({
  baseURL: `${url}/v1`,
  apiKey: "curb",
  maxRetries: 0,
  defaultHeaders: { "X-Curb-Agent": agent },
});
const HELLO = [{ role: "user", content: "What is in the directory?" }];
const LIST_FILES = {
  name: "list_files",
  description: "Files of a directory.",
  parameters: { type: "object", properties: { path: { type: "string" } }, required: ["path"] },
};
const TOOLS = [{ type: "function", function: LIST_FILES }];

const scenes = {
  async chat() {
    const answer = await client.chat.completions.create({ model, messages: HELLO, max_tokens: 300 });
    const [choice] = answer.choices;
    return { text: choice.message.content, finish: choice.finish_reason, usage: answer.usage };
  },

  async stream() {
    const stream = client.chat.completions.stream({
      model,
      messages: HELLO,
      tools: TOOLS,
      max_tokens: 300,
      stream_options: { include_usage: true },
    });
    let pieces = 0;
    for await (const _ of stream) pieces += 1;
    const answer = await stream.finalChatCompletion();
    return { pieces, call: answer.choices[0].message.tool_calls[0].function, usage: answer.usage };
  },

  async tools() {
    const runner = client.chat.completions.runTools({
      model,
      messages: HELLO,
      max_tokens: 300,
      tools: [
        {
          type: "function",
          function: {
            ...LIST_FILES,
            parse: JSON.parse,
            function: ({ path }) => `notes.md in ${path}`,
          },
        },
      ],
    });
    const text = await runner.finalContent();
    return { text, roles: runner.messages.map((message) => message.role) };
  },

  async responses() {
    const tools = [{ type: "function", strict: false, ...LIST_FILES }];
    const asked = { model, tools, max_output_tokens: 300 };
    const first = await client.responses.create({ ...asked, input: HELLO });
    const call = first.output.find((item) => item.type === "function_call");
    const result = { type: "function_call_output", call_id: call.call_id, output: "notes.md" };
    const stream = client.responses.stream({ ...asked, input: [...HELLO, ...first.output, result] });
    const events = [];
    for await (const event of stream) events.push(event.type);
    const answer = await stream.finalResponse();
    return { call, text: answer.output_text, events, usage: answer.usage };
  },

  // Says when the first piece is there, so that somebody can cut what follows.
  async cut() {
    const stream = await client.chat.completions.create({
      model,
      messages: HELLO,
      max_tokens: 900,
      stream: true,
    });
    let pieces = 0;
    for await (const _ of stream) if ((pieces += 1) === 1) print({ begun: true });
    return { pieces };
  },
};

function print(found) {
  process.stdout.write(`${JSON.stringify(found)}\n`);
}

// Errors by the class that the client gives them.
function told(error) {
  if (!(error instanceof OpenAI.APIError)) throw error;
  const { status, code, type, message, error: body } = error;
  const retryAfter = error.headers?.get("retry-after");
  return { error: error.constructor.name, status, code, type, message, body, retryAfter };
}

print(await scenes[scene]().catch(told));
