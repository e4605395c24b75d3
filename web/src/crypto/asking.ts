// Questions to a worker and its answers: each question has a number, the worker starts with the first.

interface Waiting<Told> {
  resolve: (told: Told) => void;
  reject: (error: Error) => void;
}

/** Asks the worker of this script. One that fails as a whole is started again by the next question. */
export function asker<Ask, Told>(url: string): (ask: Ask) => Promise<Told> {
  let worker: Worker | undefined;
  let next = 0;
  const waiting = new Map<number, Waiting<Told>>();
  const start = (): Worker => {
    const started = new Worker(url, { type: 'module' });
    started.onmessage = ({ data }: MessageEvent<{ id: number; told?: Told; error?: string }>) => {
      const asked = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.told) asked?.resolve(data.told);
      else asked?.reject(new Error(data.error));
    };
    started.onerror = (event) => {
      for (const { reject } of waiting.values()) reject(new Error(event.message));
      waiting.clear();
      worker = undefined;
    };
    return started;
  };
  return (ask) => {
    worker ??= start();
    const id = next++;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      worker!.postMessage({ id, ask });
    });
  };
}
