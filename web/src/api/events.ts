// What changed, as it happens: the node's server-sent events, read with fetch because EventSource
// cannot send a token.
import type { Node } from './client';

export interface Change {
  type: string;
  id: string;
}

const RETRY_MS = 2_000;
const RETRY_LIMIT_MS = 60_000;

/** What is told once the stream stands, and each time that it stands again: what happened meanwhile and
 * leaves no event behind, refused attempts, has to be asked for. */
export const CONNECTED = 'connected';

/** Calls `changed` for every event at the node that `reach` gives until `signal` aborts; connects again
 * after interruptions. */
export async function follow(
  reach: () => Promise<Node>,
  changed: (change: Change) => void,
  signal: AbortSignal,
): Promise<void> {
  let last: string | undefined;
  let wait = RETRY_MS;
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (last !== undefined) headers['last-event-id'] = last;
      const node = await reach();
      const answer = await node.raw('/events', { headers, signal });
      wait = RETRY_MS;
      changed({ type: CONNECTED, id: '' });
      for await (const event of events(answer.body!)) {
        if (event.id !== undefined) last = event.id;
        if (event.data !== undefined) changed(JSON.parse(event.data) as Change);
      }
    } catch {
      wait = Math.min(2 * wait, RETRY_LIMIT_MS);
    }
    await pause(wait, signal);
  }
}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });

interface Event {
  id?: string;
  data?: string;
}

/** The events of a stream (HTML standard, section 9.2.6). */
export async function* events(stream: ReadableStream<Uint8Array>): AsyncGenerator<Event> {
  const reader = stream.pipeThrough(new TextDecoderStream() as never).getReader();
  let buffer = '';
  for (;;) {
    const { done, value } = (await reader.read()) as { done: boolean; value?: string };
    if (done) return;
    buffer += value;
    const blocks = buffer.split(/\r?\n\r?\n/);
    buffer = blocks.pop()!;
    for (const block of blocks) {
      const event: Event = {};
      for (const line of block.split(/\r?\n/)) {
        const [, field, text] = /^(\w+):? ?(.*)$/.exec(line) ?? [];
        if (field === 'id') event.id = text;
        if (field === 'data')
          event.data = event.data === undefined ? text : `${event.data}\n${text}`;
      }
      yield event;
    }
  }
}
