// SPDX-License-Identifier: Apache-2.0
// The unmodified openai package: base URL and token are its only settings.
// node openai.mjs BASE_URL TOKEN COMMAND [TEXT]   prints one JSON value
import OpenAI, { toFile } from "openai";

const [baseURL, apiKey, command, text = "Hello"] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey });
const model = "gemini-2.5-flash";
const messages = [{ role: "user", content: text }];

const commands = {
  async complete() {
    const answer = await client.chat.completions.create({ model, messages });
    return { text: answer.choices[0].message.content, reason: answer.choices[0].finish_reason,
             total: answer.usage.total_tokens, id: answer._request_id };
  },

  async stream() {
    const stream = await client.chat.completions.create(
      { model, messages, stream: true, stream_options: { include_usage: true } });
    const found = { text: "", chunks: 0, reason: null, total: 0 };
    for await (const chunk of stream) {
      found.chunks++;
      found.text += chunk.choices[0]?.delta?.content ?? "";
      found.reason = chunk.choices[0]?.finish_reason ?? found.reason;
      found.total = chunk.usage?.total_tokens ?? found.total;
    }
    return found;
  },

  async speech() {
    const answer = await client.audio.speech.create(
      { model: "gpt-4o-mini-tts", voice: "coral", input: text, response_format: "flac" });
    const bytes = Buffer.from(await answer.arrayBuffer());
    return { type: answer.headers.get("content-type"), begin: bytes.toString("latin1", 0, 4), length: bytes.length };
  },

  async models() {
    const ids = [];
    for await (const entry of client.models.list()) ids.push(entry.id);
    return ids;
  },

  async embed() {
    // the SDK asks for base64 and decodes it
    const answer = await client.embeddings.create({ model: "gemini-embedding-001", input: [text, "another"],
                                                    dimensions: 64 });
    const plain = await client.embeddings.create({ model: "gemini-embedding-001", input: [text, "another"],
                                                   encoding_format: "float", dimensions: 64 });
    return { base64: answer.data.map((d) => d.embedding), float: plain.data.map((d) => d.embedding),
             total: answer.usage.total_tokens };
  },

  async draw() {
    const answer = await client.images.generate({ model: "dall-e-3", prompt: text, n: 2, size: "1024x1024" });
    return { pictures: answer.data.map((d) => d.b64_json), total: answer.usage.total_tokens };
  },

  // TEXT is a picture in base64
  async edit() {
    const image = await toFile(Buffer.from(text, "base64"), "größe.png", { type: "image/png" });
    const answer = await client.images.edit({ model: "gpt-image-1", image: [image, image], prompt: "a hat" });
    return answer.data.map((d) => d.b64_json);
  },

  // TEXT is a sound in base64
  async transcribe() {
    const file = () => toFile(Buffer.from(text, "base64"), "größe.wav");
    const said = await client.audio.transcriptions.create({ model: "whisper-1", file: await file() });
    const english = await client.audio.translations.create({ model: "whisper-1", file: await file() });
    return { text: said.text, english: english.text };
  },

  async error() {
    try {
      await commands[text === "stream" ? "stream" : "complete"]();
      return { name: null };
    } catch (e) {
      return { name: e.constructor.name, status: e.status, code: e.code, type: e.type, message: e.message };
    }
  },

  async leave() {
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta?.content) break;      // the iterator aborts the request
    }
    return true;
  },
};

console.log(JSON.stringify(await commands[command]()));
process.exit(0);
