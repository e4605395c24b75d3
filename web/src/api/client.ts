// A node's API, typed from the committed description. The session's token stays in memory beside the
// keys, and no cookie is sent or taken: a cookie would outlive the keys, and it would be shared by every
// tab and by every node on the same host, so that one person's page could act in another's session.
import createClient, { type Client } from 'openapi-fetch';
import type { components, paths } from './schema';

export type Schema = components['schemas'];

/** A node's refusal or failure: RFC 9457 with a stable code. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly detail?: string,
    readonly fields: { pointer: string; detail: string }[] = [],
    readonly silent: { name: string }[] = [],
  ) {
    super(message);
  }
}

/** The node cannot be reached at all. */
export class Unreachable extends Error {}

export interface Node {
  /** Origin of the node, without a slash at the end. */
  base: string;
  api: Client<paths>;
  /** For bodies that are not JSON. */
  raw: (path: string, init?: RequestInit) => Promise<Response>;
}

/** Called when a session has ended on the server's side. */
type Ended = () => void;

let ended: Ended = () => {};
export const onSessionEnd = (handler: Ended): void => {
  ended = handler;
};

/** A node, and a session there if there is a token. */
export function node(base: string, token?: string): Node {
  const own = base === location.origin;
  const send = async (request: Request): Promise<Response> => {
    const headers = new Headers(request.headers);
    if (token) headers.set('authorization', `Bearer ${token}`);
    let answer: Response;
    try {
      answer = await fetch(
        new Request(request, { headers, credentials: 'omit', cache: 'no-store' }),
      );
    } catch (error) {
      throw new Unreachable(String(error));
    }
    if (answer.status === 401 && own && token) ended();
    return answer;
  };
  return {
    base,
    api: createClient<paths>({ baseUrl: base, fetch: send }),
    raw: async (path, init) => {
      const answer = await send(new Request(`${base}/api/v1${path}`, init));
      if (!answer.ok) throw await problemOf(answer);
      return answer;
    },
  };
}

async function problemOf(answer: Response): Promise<Problem> {
  const body: unknown = await answer.json().catch(() => undefined);
  return problem(answer.status, body);
}

function problem(status: number, body: unknown): Problem {
  const document = (body ?? {}) as Partial<Schema['Problem']>;
  return new Problem(
    status,
    document.code ?? 'unknown',
    document.title ?? `HTTP ${status}`,
    document.detail ?? undefined,
    document.errors ?? [],
    document.silent ?? [],
  );
}

/** The body of a good answer; throws the problem of any other. */
export async function ok<T>(
  call: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<T> {
  const { data, error, response } = await call;
  if (!response.ok) throw problem(response.status, error);
  return data as T;
}

interface Page<T> {
  items: T[];
  next?: string | null;
}

const PAGES_LIMIT = 200;

/** Every item of a list, page by page. */
export async function all<T>(page: (after?: string) => Promise<Page<T>>): Promise<T[]> {
  const items: T[] = [];
  let after: string | undefined;
  for (let n = 0; n < PAGES_LIMIT; n++) {
    const { items: more, next } = await page(after);
    items.push(...more);
    if (!next) return items;
    after = next;
  }
  throw new Error('a list without an end');
}
