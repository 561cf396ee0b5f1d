// SPDX-License-Identifier: Apache-2.0
// Tools and structured output with the helpers of the unmodified openai package.
// node tools.mjs BASE_URL TOKEN COMMAND MODEL TEXT   prints one JSON value
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [baseURL, apiKey, command, model, text] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey });
const messages = [{ role: "user", content: text }];
const ran = [];

const tools = [
  zodFunction({
    name: "look", description: "Looks at a place.", parameters: z.object({ place: z.string(), days: z.number().nullable() }),
    function: (args) => { ran.push(["look", args]); return { seen: args.place, price: 19.99 }; },
  }),
  zodFunction({
    name: "note", description: "Notes a text.", parameters: z.object({ text: z.string() }),
    function: (args) => { ran.push(["note", args]); return "noted"; },
  }),
];

const Trip = z.object({
  place: z.string(), kind: z.enum(["city", "lake"]), days: z.number().int(),
  stops: z.array(z.object({ name: z.string(), note: z.string().nullable() })),
});

const commands = {
  async run() {
    const runner = client.chat.completions.runTools({ model, messages, tools });
    const final = await runner.finalContent();
    return { ran, final, roles: runner.messages.map((m) => m.role), total: (await runner.totalUsage()).total_tokens };
  },

  async runStream() {
    const runner = client.chat.completions.runTools({ model, messages, tools, stream: true });
    let pieces = 0;
    runner.on("content", () => pieces++);
    const final = await runner.finalContent();
    return { ran, final, pieces, roles: runner.messages.map((m) => m.role) };
  },

  async parse() {
    const answer = await client.chat.completions.parse(
      { model, messages, response_format: zodResponseFormat(Trip, "trip") });
    return answer.choices[0].message.parsed;
  },

  async parseStream() {
    const stream = client.chat.completions.stream({ model, messages, response_format: zodResponseFormat(Trip, "trip") });
    return (await stream.finalChatCompletion()).choices[0].message.parsed;
  },

  async streamHelper() {
    const stream = client.chat.completions.stream(
      { model, messages, tools: tools.map(({ type, function: { name, parameters, strict } }) => (
        { type, function: { name, parameters, strict } })) });
    const seen = [];
    stream.on("tool_calls.function.arguments.done", (e) => seen.push([e.index, e.name, e.parsed_arguments]));
    const final = await stream.finalChatCompletion();
    return { seen, reason: final.choices[0].finish_reason, calls: final.choices[0].message.tool_calls.length };
  },
};

console.log(JSON.stringify(await commands[command]()));
process.exit(0);
