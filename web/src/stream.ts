/** A question to the model, whose answer arrives in pieces. */

import { type Api, ServerError } from "./api";

export interface Bound {
  space: string;
  base64: string;
}

export interface Influence {
  tokens: string[];
  values: Record<string, number[]>;
}

export interface Ending {
  reason: "stop" | "length" | null;
  refusal: string | null;
  notes: string[];
  influence: Influence | null;
}

export interface Question {
  model: string;
  text: string;
  bindings: Record<string, Bound>;
  influence: boolean;
}

/** Ask, hand each piece of the answer to `piece`, and return how the answer ended. */
export async function ask(
  api: Api,
  question: Question,
  piece: (text: string) => void,
  signal: AbortSignal,
): Promise<Ending> {
  const body = {
    model: question.model,
    messages: [{ role: "user", content: question.text }],
    bindings: question.bindings,
    stream: true,
    neighbors: 0,
    ...(question.influence ? { influence: true } : {}),
  };
  const headers = { "content-type": "application/json" };
  const response = await api.request("v1/chat/completions", {
    method: "POST",
    headers,
    body: JSON.stringify(body),
    signal,
  });
  const ending: Ending = { reason: null, refusal: null, notes: [], influence: null };
  let complete = false;
  for await (const data of events(response, signal)) {
    if (data === "[DONE]") {
      complete = true;
      break;
    }
    const event = JSON.parse(data);
    if (event.error) throw new ServerError(String(event.error.message), 0, String(event.error.code ?? ""));
    const choice = event.choices?.[0];
    if (!choice) continue;
    if (choice.delta?.content) piece(choice.delta.content);
    if (choice.delta?.refusal) ending.refusal = String(choice.delta.refusal);
    if (choice.finish_reason) ending.reason = choice.finish_reason;
    if (choice.vectalk) {
      ending.notes = choice.vectalk.notes ?? [];
      ending.influence = choice.vectalk.influence ?? null;
    }
  }
  if (!complete) throw new ServerError("The connection was lost before the answer was complete.", 0, "cut");
  return ending;
}

/** Yield the data of server-sent events. */
async function* events(response: Response, signal: AbortSignal): AsyncGenerator<string> {
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  let buffer = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      buffer += decoder.decode(value, { stream: true });
      for (let end = buffer.indexOf("\n\n"); end >= 0; end = buffer.indexOf("\n\n")) {
        const event = buffer.slice(0, end);
        buffer = buffer.slice(end + 2);
        if (event.startsWith("data: ")) yield event.slice(6);
      }
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ServerError("The connection was lost before the answer was complete.", 0, "cut");
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
