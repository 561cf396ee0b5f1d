// SPDX-License-Identifier: Apache-2.0
// Every method of the unmodified @google/genai package that exists on the surface: each is called once.
// node genai_methods.mjs BASE_URL TOKEN   prints {"called": {name: error or null}, "offered": [name]}
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { GoogleGenAI } from "@google/genai";

const [baseUrl, apiKey] = process.argv.slice(2);
console.warn = () => {};
const c = new GoogleGenAI({ apiKey, httpOptions: { baseUrl } });
const model = "gemini-2.5-flash";
const hello = [{ role: "user", parts: [{ text: "hello" }] }];
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "gbalance-sdk-"));
const file = path.join(folder, "a.txt");
fs.writeFileSync(file, "hello");

async function all(pager) {
  const found = [];
  for await (const one of await pager) found.push(one);
  return found;
}

// What a call needs to be there before.
const made = {
  file: () => c.files.upload({ file, config: { mimeType: "text/plain" } }),
  cache: () => c.caches.create({ model, config: { contents: hello, ttl: "60s" } }),
  batch: () => c.batches.create({ model, src: [{ contents: hello }] }),
  store: () => c.fileSearchStores.create({ config: { displayName: "s" } }),
  interaction: () => c.interactions.create({ model, input: "Hi" }),
  agent: () => c.agents.create({ base_agent: "x", description: "d" }),
  credential: () => c.credentials.create({ id: "c1", type: "environment_variable", value: "v", injection_location: "header" }),
  trigger: () => c.triggers.create({ interaction: { agent: "a", input: "x" }, schedule: "* * * * *", time_zone: "UTC" }),
  voice: () => c.voices.create({ voice: { type: "prompted", prompted: { input: "deep" } } }),
  webhook: () => c.webhooks.create({ uri: "https://example.com/hook", subscribed_events: [] }),
  environment: () => c.environments.create({}),
};

// A store and a file of one key: another one's cannot be imported.
async function importFile() {
  const store = await made.store();
  for (;;) {
    const one = await made.file();
    try {
      return await c.fileSearchStores.importFile({ fileSearchStoreName: store.name, fileName: one.name });
    } catch (e) {
      if (!String(e).includes("different keys")) throw e;
    }
  }
}

const upload = async () => c.fileSearchStores.uploadToFileSearchStore(
  { fileSearchStoreName: (await made.store()).name, file, config: { mimeType: "text/plain" } });

const calls = {
  "models.generateContent": () => c.models.generateContent({ model, contents: "Hi" }),
  "models.generateContentStream": () => all(c.models.generateContentStream({ model, contents: "Hi" })),
  "models.countTokens": () => c.models.countTokens({ model, contents: "Hi" }),
  "models.embedContent": () => c.models.embedContent({ model: "gemini-embedding-001", contents: ["a", "b"] }),
  "models.get": () => c.models.get({ model }),
  "models.list": () => all(c.models.list()),
  "models.update": () => c.models.update({ model: "tunedModels/t1", config: { displayName: "t" } }),
  "models.delete": () => c.models.delete({ model: "tunedModels/t1" }),
  "chats.create": () => c.chats.create({ model }).sendMessage({ message: "Hi" }),
  "operations.get": async () => c.operations.get({ operation: await upload() }),
  "caches.create": () => made.cache(),
  "caches.get": async () => c.caches.get({ name: (await made.cache()).name }),
  "caches.update": async () => c.caches.update({ name: (await made.cache()).name, config: { ttl: "60s" } }),
  "caches.list": () => all(c.caches.list()),
  "caches.delete": async () => c.caches.delete({ name: (await made.cache()).name }),
  "files.upload": () => made.file(),
  "files.get": async () => c.files.get({ name: (await made.file()).name }),
  "files.list": () => all(c.files.list()),
  "files.delete": async () => c.files.delete({ name: (await made.file()).name }),
  "files.download": async () => c.files.download({ file: (await made.file()).name, downloadPath: path.join(folder, "b") }),
  "batches.create": () => made.batch(),
  "batches.createEmbeddings": () => c.batches.createEmbeddings(
    { model: "gemini-embedding-001", src: { inlinedRequests: { contents: hello } } }),
  "batches.get": async () => c.batches.get({ name: (await made.batch()).name }),
  "batches.list": () => all(c.batches.list()),
  "batches.cancel": async () => c.batches.cancel({ name: (await made.batch()).name }),
  "batches.delete": async () => c.batches.delete({ name: (await made.batch()).name }),
  "fileSearchStores.create": () => made.store(),
  "fileSearchStores.get": async () => c.fileSearchStores.get({ name: (await made.store()).name }),
  "fileSearchStores.list": () => all(c.fileSearchStores.list()),
  "fileSearchStores.delete": async () => c.fileSearchStores.delete({ name: (await made.store()).name }),
  "fileSearchStores.importFile": importFile,
  "fileSearchStores.uploadToFileSearchStore": upload,
  "fileSearchStores.downloadMedia": async () =>
    c.fileSearchStores.downloadMedia((await made.store()).name + "/media/m1"),
  "tunings.tune": () => c.tunings.tune({ baseModel: "models/gemini-1.5-flash-001-tuning",
                                         trainingDataset: { examples: [{ textInput: "a", output: "b" }] } }),
  "tunings.get": () => c.tunings.get({ name: "tunedModels/t1" }),
  "tunings.cancel": () => c.tunings.cancel({ name: "tunedModels/t1" }),
  "authTokens.create": () => c.authTokens.create({ config: { uses: 1, httpOptions: { apiVersion: "v1alpha" } } }),
  "interactions.create": () => made.interaction(),
  "interactions.get": async () => c.interactions.get((await made.interaction()).id),
  "interactions.cancel": async () => c.interactions.cancel((await made.interaction()).id),
  "interactions.delete": async () => c.interactions.delete((await made.interaction()).id),
  "triggers.run": async () => c.triggers.run((await made.trigger()).id),
  "triggers.listExecutions": async () => c.triggers.listExecutions((await made.trigger()).id),
  "triggers.update": async () => c.triggers.update((await made.trigger()).id, { display_name: "x" }),
  "credentials.update": async () => c.credentials.update((await made.credential()).id, { type: "environment_variable", value: "w" }),
  "webhooks.update": async () => c.webhooks.update((await made.webhook()).id, { uri: "https://example.com/other" }),
  "webhooks.ping": async () => c.webhooks.ping((await made.webhook()).id),
  "webhooks.rotateSigningSecret": async () => c.webhooks.rotateSigningSecret((await made.webhook()).id),
};

for (const [kind, one] of Object.entries({ agents: "agent", credentials: "credential", triggers: "trigger", voices: "voice",
                                           webhooks: "webhook", environments: "environment" })) {
  calls[`${kind}.create`] = made[one];
  calls[`${kind}.list`] = () => c[kind].list();
  calls[`${kind}.get`] = async () => c[kind].get((await made[one]()).id);
  calls[`${kind}.delete`] = async () => c[kind].delete((await made[one]()).id);
}

function* offered() {
  const holders = [...Object.getOwnPropertyNames(c), ...Object.getOwnPropertyNames(Object.getPrototypeOf(c))];
  for (const name of holders.filter((n) => n !== "apiClient" && typeof c[n] === "object" && c[n])) {
    const methods = new Set();
    for (let p = c[name]; p && p !== Object.prototype; p = Object.getPrototypeOf(p)) {
      Object.getOwnPropertyNames(p).filter((m) => m !== "constructor" && typeof c[name][m] === "function").forEach((m) => methods.add(m));
    }
    yield* [...methods].map((m) => `${name}.${m}`);
  }
}

const called = {};
for (const [name, call] of Object.entries(calls)) {
  called[name] = await call().then(() => null, (e) => `${e.name}: ${e.message}`.slice(0, 400));
}
fs.rmSync(folder, { recursive: true });
console.log(JSON.stringify({ called, offered: [...offered()] }));
process.exit(0);
