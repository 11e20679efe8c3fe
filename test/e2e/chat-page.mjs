// A chat as an application would write it: useChat, and five lines for the run.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { createElement as h } from "react";
import { createRoot } from "react-dom/client";

const known = () => localStorage.getItem("run");

const transport = new DefaultChatTransport({
  api: "/api/chat",
  fetch: async (input, init) => {
    const response = await fetch(input, init);
    const run = response.headers.get("Sluice-Run");
    if (run !== null) localStorage.setItem("run", run);
    return response;
  },
  prepareReconnectToStreamRequest: () => ({ api: `/v1/runs/${known()}` }),
});

function Chat() {
  const chat = useChat({ id: "chat", transport, resume: known() !== null });
  const stop = () => {
    void chat.stop();
    void fetch(`/v1/runs/${known()}`, { method: "DELETE" });
  };
  const answer = chat.messages
    .filter(({ role }) => role === "assistant")
    .flatMap(({ parts }) => parts)
    .map((part) => (part.type === "text" ? part.text : ""))
    .join("");
  return h(
    "main",
    null,
    h("button", { id: "send", onClick: () => void chat.sendMessage({ text: "hello" }) }, "Send"),
    h("button", { id: "stop", onClick: stop }, "Stop"),
    h("output", { id: "status" }, chat.status),
    h("output", { id: "error" }, chat.error?.message ?? ""),
    h("pre", { id: "answer" }, answer),
  );
}

createRoot(document.body.appendChild(document.createElement("div"))).render(h(Chat));
