// An agent with the official client, as a command: a JSON line a unit in, one out. `npm install` beside it, then
// `candidate: {command: [node, agent.mjs], protocol: lines, model: …}`.
import { createInterface } from "node:readline";
import OpenAI from "openai";

async function ask(url, name, call) {
  const answer = await fetch(`${url}/${encodeURIComponent(name)}`, { method: "POST", body: call });
  if (!answer.ok) throw new Error(await answer.text());
  return (await answer.json()).content;
}

async function run(unit) {
  const client = new OpenAI({ baseURL: unit.model_url });
  const messages = [...unit.messages];
  if (unit.user !== null) messages.push({ role: "user", content: unit.user });
  const tools = unit.tools.length > 0 ? unit.tools : undefined;
  for (;;) {
    const answer = await client.chat.completions.create({ model: unit.model, messages, tools });
    const { message } = answer.choices[0];
    messages.push(message);
    if (!message.tool_calls?.length) return message.content;
    for (const { id, function: called } of message.tool_calls) {
      const content = await ask(unit.tools_url, called.name, called.arguments);
      messages.push({ role: "tool", tool_call_id: id, content });
    }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const unit = JSON.parse(line);
  let answer;
  try {
    answer = { text: await run(unit) };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify({ id: unit.id, ...answer })}\n`);
}
