// A job's plan, read from the bytes that its digest covers: what is shown is what is signed.
import { sha256 } from '../../crypto/digest';
import { type Bytes, hex } from '../../lib/bytes';
import { asBytes, asUint, decode, Fields, Malformed, type Value } from '../../lib/cbor';

export const ARCHITECTURES = ['small', 'darkcovidnet', 'resnet18'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** In the order of their codes (docs/formats.md, "Federated records"). */
export const STRATEGIES = [
  'fedavg',
  'fedprox',
  'fedavgm',
  'fedadam',
  'fedyogi',
  'fedadagrad',
  'scaffold',
  'fedbn',
  'median',
  'trimmed-mean',
  'krum',
  'multi-krum',
] as const;
export type Strategy = (typeof STRATEGIES)[number];

export interface Site {
  site: string;
  samples: number;
  dataSet: string;
}

export interface Metric {
  name: string;
  /** Figures are multiples of this. */
  step: number;
  /** Not reported over fewer images. */
  minimumImages: number;
}

export interface Plan {
  /** SHA-256 of the bytes: what a decision names. */
  digest: string;
  job: string;
  purpose: string;
  architecture: Architecture;
  classes: string[];
  channels: number;
  sizePx: number;
  strategy: Strategy;
  /** Passes over a site's images in a round. */
  epochs: number;
  /** Images in a step. */
  batch: number;
  /** Highest learning rate. */
  rate: number;
  flip: boolean;
  rounds: number;
  roster: Site[];
  quorum: number;
  /** Time after which a round closes with a quorum, ms. */
  roundMs: number;
  metrics: Metric[];
  /** Numbers that travel in an update, and its length in bytes. */
  values: number;
  updateBytes: number;
}

const MICRO = 1e6;
const SCAFFOLD = 6;
const SHARED = 0;
/** An update holds 32-bit integers. */
const VALUE_BYTES = 4;

function word<T extends string>(words: readonly T[], value: Value | undefined): T {
  const found = words[asUint(value)];
  if (found === undefined) throw new Malformed('an unknown code');
  return found;
}

const text = (value: Value): string => {
  if (typeof value !== 'string') throw new Malformed('no text');
  return value;
};

const keys = (count: number): number[] => Array.from({ length: count }, (_, key) => key);

export async function readPlan(bytes: Bytes): Promise<Plan> {
  const plan = Fields.of(decode(bytes), keys(13));
  const network = Fields.of(plan.value(2), keys(7));
  const training = Fields.of(plan.value(5), keys(11));
  const augmentation = Fields.of(training.value(7), keys(5));
  const [code] = plan.list(4);
  const values = plan.list(3).reduce<number>((sum, value) => {
    const tensor = Fields.of(value, keys(3));
    if (tensor.uint(2) !== SHARED) return sum;
    return sum + tensor.list(1).reduce<number>((product, side) => product * asUint(side), 1);
  }, 0);
  // SCAFFOLD sends the change of the control variates beside the change of the model.
  const sent = values * (code === SCAFFOLD ? 2 : 1);
  return {
    digest: hex(await sha256(bytes)),
    job: hex(plan.bytes(0, 16)),
    purpose: plan.text(1),
    architecture: word(ARCHITECTURES, network.value(0)),
    classes: network.list(2).map(text),
    channels: network.uint(3),
    sizePx: network.uint(4),
    strategy: word(STRATEGIES, code),
    epochs: training.uint(0),
    batch: training.uint(1),
    rate: training.uint(3) / MICRO,
    flip: augmentation.value(0) === true,
    rounds: plan.uint(6),
    roster: plan.list(7).map((value) => {
      const entry = Fields.of(value, keys(3));
      return {
        site: hex(entry.bytes(0, 16)),
        samples: entry.uint(1),
        dataSet: hex(asBytes(entry.value(2), 32)),
      };
    }),
    quorum: plan.uint(8),
    roundMs: plan.uint(9),
    metrics: plan.list(11).map((value) => {
      const metric = Fields.of(value, keys(3));
      return {
        name: metric.text(0),
        step: metric.uint(1) / MICRO,
        minimumImages: metric.uint(2),
      };
    }),
    values: sent,
    updateBytes: sent * VALUE_BYTES,
  };
}
