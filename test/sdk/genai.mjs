// SPDX-License-Identifier: Apache-2.0
// The unmodified @google/genai package: base URL and token are its only settings.
// node genai.mjs BASE_URL TOKEN COMMAND [TEXT]   prints one JSON value
import { GoogleGenAI } from "@google/genai";

const [baseUrl, apiKey, command, text = "Hello"] = process.argv.slice(2);
const client = new GoogleGenAI({ apiKey, httpOptions: { baseUrl } });
const model = "gemini-2.5-flash";

const commands = {
  async complete() {
    const answer = await client.models.generateContent({ model, contents: text });
    return { text: answer.text, reason: answer.candidates[0].finishReason,
             total: answer.usageMetadata.totalTokenCount };
  },

  async stream() {
    const stream = await client.models.generateContentStream({ model, contents: text });
    const found = { text: "", chunks: 0, reason: null, total: 0 };
    for await (const chunk of stream) {
      found.chunks++;
      found.text += chunk.text ?? "";
      found.reason = chunk.candidates?.[0]?.finishReason ?? found.reason;
      found.total = chunk.usageMetadata?.totalTokenCount ?? found.total;
    }
    return found;
  },

  async models() {
    const names = [];
    for await (const entry of await client.models.list()) names.push(entry.name);
    return names;
  },

  async error() {
    try {
      await commands[text === "stream" ? "stream" : "complete"]();
      return { name: null };
    } catch (e) {
      return { name: e.constructor.name, status: e.status ?? null, message: e.message };
    }
  },
};

console.log(JSON.stringify(await commands[command]()));
process.exit(0);
