// Where the parts of a JSON text stand, so that a part can be kept as it was written: a decimal in
// FHIR says by its digits how exact it is, and reading it as a number would forget that.

const space = (text: string, at: number): number => {
  let next = at;
  while (next < text.length && ' \t\r\n'.includes(text[next]!)) next += 1;
  return next;
};

/** The place after the string that begins at `at`. */
function afterString(text: string, at: number): number {
  let next = at + 1;
  while (next < text.length && text[next] !== '"') next += text[next] === '\\' ? 2 : 1;
  return next + 1;
}

/** The place after the value that begins at `at`. */
function afterValue(text: string, at: number): number {
  if (text[at] === '"') return afterString(text, at);
  if (text[at] !== '{' && text[at] !== '[') {
    let next = at;
    while (next < text.length && !',]} \t\r\n'.includes(text[next]!)) next += 1;
    return next;
  }
  let depth = 0;
  let next = at;
  do {
    const character = text[next];
    if (character === '"') {
      next = afterString(text, next);
      continue;
    }
    if (character === '{' || character === '[') depth += 1;
    if (character === '}' || character === ']') depth -= 1;
    next += 1;
  } while (depth > 0 && next < text.length);
  return next;
}

/** The members of an object that is known to be sound JSON: each name and the text of its value. */
export function membersOf(text: string): [name: string, value: string][] {
  const members: [string, string][] = [];
  let at = space(text, space(text, 0) + 1);
  while (at < text.length && text[at] === '"') {
    const colon = afterString(text, at);
    const name: string = JSON.parse(text.slice(at, colon));
    const from = space(text, space(text, colon) + 1);
    const to = afterValue(text, from);
    members.push([name, text.slice(from, to)]);
    at = space(text, to);
    if (text[at] === ',') at = space(text, at + 1);
  }
  return members;
}

/** The texts of the items of a list that is known to be sound JSON. */
export function itemsOf(text: string): string[] {
  const items: string[] = [];
  let at = space(text, space(text, 0) + 1);
  while (at < text.length && text[at] !== ']') {
    const to = afterValue(text, at);
    items.push(text.slice(at, to));
    at = space(text, to);
    if (text[at] === ',') at = space(text, at + 1);
  }
  return items;
}
