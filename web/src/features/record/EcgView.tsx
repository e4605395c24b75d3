// The ECG on paper: ten seconds at first, 25 mm a second and 10 mm a millivolt in the grid; below it
// the whole recording to move in. Keys: arrows move, plus and minus zoom.
import { ActionIcon, Group, NativeSelect, Switch, Table, Text } from '@mantine/core';
import { IconArrowLeft, IconArrowRight, IconZoomIn, IconZoomOut } from '@tabler/icons-react';
import { useEffect, useMemo, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { number } from '../../lib/format';
import { Scroll } from '../../ui/page';
import { type Ecg, envelope, type Lead } from './ecg';

const SHORTEST_S = 1;
const FIRST_S = 10;
const HEIGHT = 260;
const NAVIGATOR_HEIGHT = 56;

/** Seconds as minutes and seconds. */
const clock = (seconds: number): string =>
  `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, '0')}`;

interface Window {
  from: number;
  to: number;
}

function colours(element: Element): Record<'trace' | 'grid' | 'strong' | 'paper' | 'band', string> {
  const style = getComputedStyle(element);
  const take = (name: string) => style.getPropertyValue(name).trim();
  return {
    trace: take('--salus-trace'),
    grid: take('--salus-grid'),
    strong: take('--salus-grid-strong'),
    paper: take('--salus-paper'),
    band: take('--salus-band'),
  };
}

/** A canvas that is drawn again whenever its size, its content or the colours change. */
function useDrawing(
  draw: (context: CanvasRenderingContext2D, width: number) => void,
  height: number,
) {
  const ref = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const canvas = ref.current!;
    const paint = (): void => {
      const width = canvas.clientWidth;
      const scale = devicePixelRatio || 1;
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      const context = canvas.getContext('2d')!;
      context.scale(scale, scale);
      draw(context, width);
    };
    const size = new ResizeObserver(paint);
    size.observe(canvas);
    // The colour scheme stands in an attribute of the root element.
    const scheme = new MutationObserver(paint);
    scheme.observe(document.documentElement, { attributes: true });
    paint();
    return () => {
      size.disconnect();
      scheme.disconnect();
    };
  }, [draw, height]);
  return ref;
}

/** Least and greatest value of a lead, with room around. */
function extent(lead: Lead): [number, number] {
  const { low, high } = envelope(lead, 0, lead.samples.length / lead.rate, 1);
  const [least, greatest] = [low[0]!, high[0]!];
  if (Number.isNaN(least)) return [-1, 1];
  const room = Math.max((greatest - least) * 0.1, 0.1);
  return [least - room, greatest + room];
}

function trace(
  context: CanvasRenderingContext2D,
  lead: Lead,
  { from, to }: Window,
  width: number,
  height: number,
  [least, greatest]: [number, number],
): void {
  const { low, high } = envelope(lead, from, to, Math.max(1, Math.round(width)));
  const y = (value: number) => height - ((value - least) / (greatest - least)) * height;
  context.beginPath();
  let drawing = false;
  for (let x = 0; x < low.length; x++) {
    if (Number.isNaN(low[x]!)) {
      drawing = false;
      continue;
    }
    if (drawing) context.lineTo(x, y(high[x]!));
    else context.moveTo(x, y(high[x]!));
    context.lineTo(x, y(low[x]!));
    drawing = true;
  }
  context.stroke();
}

export function EcgView({ ecg, title }: { ecg: Ecg; title: string }) {
  const { t } = useTranslation();
  const [at, setAt] = useState(0);
  const [table, setTable] = useState(false);
  const lead = ecg.leads[at] ?? ecg.leads[0]!;
  const first = Math.min(FIRST_S, ecg.duration);
  const [view, setView] = useState<Window>({ from: 0, to: first });
  const range = useMemo(() => extent(lead), [lead]);

  const show = (from: number, span: number): void => {
    const length = Math.min(Math.max(span, SHORTEST_S), ecg.duration);
    const start = Math.min(Math.max(from, 0), ecg.duration - length);
    setView({ from: start, to: start + length });
  };
  const span = view.to - view.from;
  const zoom = (factor: number): void =>
    show(view.from + (span - span * factor) / 2, span * factor);
  const move = (part: number): void => show(view.from + span * part, span);

  const strip = useDrawing(
    useMemo(
      () => (context: CanvasRenderingContext2D, width: number) => {
        const { grid, strong, paper, trace: ink } = colours(context.canvas);
        context.fillStyle = paper;
        context.fillRect(0, 0, width, HEIGHT);
        const line = (x1: number, y1: number, x2: number, y2: number, colour: string) => {
          context.strokeStyle = colour;
          context.beginPath();
          context.moveTo(x1, y1);
          context.lineTo(x2, y2);
          context.stroke();
        };
        context.lineWidth = 1;
        // One small square is 0.04 s by 0.1 unit, one large 0.2 s by 0.5 unit.
        const seconds = view.to - view.from;
        for (const [step, colour] of [
          [0.04, grid],
          [0.2, strong],
        ] as const) {
          if ((width / seconds) * step < 3) continue;
          for (let s = Math.ceil(view.from / step) * step; s < view.to; s += step) {
            const x = ((s - view.from) / seconds) * width;
            line(x, 0, x, HEIGHT, colour);
          }
        }
        const [least, greatest] = range;
        for (const [step, colour] of [
          [0.1, grid],
          [0.5, strong],
        ] as const) {
          if ((HEIGHT / (greatest - least)) * step < 3) continue;
          for (let v = Math.ceil(least / step) * step; v < greatest; v += step) {
            const y = HEIGHT - ((v - least) / (greatest - least)) * HEIGHT;
            line(0, y, width, y, colour);
          }
        }
        context.strokeStyle = ink;
        context.lineWidth = 1.2;
        trace(context, lead, view, width, HEIGHT, range);
      },
      [lead, view, range],
    ),
    HEIGHT,
  );

  const navigator = useDrawing(
    useMemo(
      () => (context: CanvasRenderingContext2D, width: number) => {
        const { paper, band, trace: ink } = colours(context.canvas);
        context.fillStyle = paper;
        context.fillRect(0, 0, width, NAVIGATOR_HEIGHT);
        context.fillStyle = band;
        const x = (seconds: number) => (seconds / ecg.duration) * width;
        context.fillRect(x(view.from), 0, Math.max(3, x(view.to) - x(view.from)), NAVIGATOR_HEIGHT);
        context.strokeStyle = ink;
        context.lineWidth = 0.6;
        const all = { from: 0, to: ecg.duration };
        trace(context, lead, all, width, NAVIGATOR_HEIGHT, range);
      },
      [lead, view, range, ecg.duration],
    ),
    NAVIGATOR_HEIGHT,
  );

  const seek = (event: React.PointerEvent<HTMLCanvasElement>): void => {
    if (event.type === 'pointermove' && event.buttons === 0) return;
    const box = event.currentTarget.getBoundingClientRect();
    const centre = ((event.clientX - box.left) / box.width) * ecg.duration;
    show(centre - span / 2, span);
  };
  const keys = (event: React.KeyboardEvent): void => {
    const action: Record<string, () => void> = {
      ArrowLeft: () => move(-0.5),
      ArrowRight: () => move(0.5),
      '+': () => zoom(0.5),
      '-': () => zoom(2),
    };
    if (!action[event.key]) return;
    event.preventDefault();
    action[event.key]!();
  };
  const described = t('ecg.described', {
    title,
    lead: lead.name,
    from: clock(view.from),
    to: clock(view.to),
  });
  return (
    <div>
      <Group mb="xs" gap="xs" align="flex-end">
        <NativeSelect
          label={t('ecg.lead')}
          value={String(at)}
          data={ecg.leads.map((l, i) => ({ value: String(i), label: l.name || String(i + 1) }))}
          onChange={(event) => setAt(Number(event.currentTarget.value))}
        />
        <ActionIcon.Group>
          <ActionIcon
            variant="default"
            size={36}
            aria-label={t('ecg.back')}
            onClick={() => move(-0.5)}
          >
            <IconArrowLeft size={18} aria-hidden />
          </ActionIcon>
          <ActionIcon
            variant="default"
            size={36}
            aria-label={t('ecg.on')}
            onClick={() => move(0.5)}
          >
            <IconArrowRight size={18} aria-hidden />
          </ActionIcon>
          <ActionIcon
            variant="default"
            size={36}
            aria-label={t('zoom.in')}
            onClick={() => zoom(0.5)}
          >
            <IconZoomIn size={18} aria-hidden />
          </ActionIcon>
          <ActionIcon
            variant="default"
            size={36}
            aria-label={t('zoom.out')}
            onClick={() => zoom(2)}
          >
            <IconZoomOut size={18} aria-hidden />
          </ActionIcon>
        </ActionIcon.Group>
        <Switch
          label={t('asTable')}
          checked={table}
          onChange={(event) => setTable(event.currentTarget.checked)}
        />
      </Group>
      <canvas
        ref={strip}
        className="canvas"
        style={{ height: HEIGHT }}
        role="img"
        tabIndex={0}
        aria-label={described}
        onKeyDown={keys}
      />
      <Group justify="space-between" my={4} gap="xs">
        <Text size="sm" data-testid="ecg-window">
          {clock(view.from)} – {clock(view.to)} ({clock(ecg.duration)})
        </Text>
        <Text size="sm" c="dimmed">
          {t('ecg.paper', { rate: number(lead.rate, 0), unit: lead.unit })}
        </Text>
      </Group>
      <canvas
        ref={navigator}
        className="canvas"
        style={{ height: NAVIGATOR_HEIGHT, cursor: 'pointer' }}
        aria-hidden
        onPointerDown={seek}
        onPointerMove={seek}
      />
      {table && <EcgTable lead={lead} view={view} />}
    </div>
  );
}

/** The shown stretch as numbers: least and greatest value of each tenth. */
function EcgTable({ lead, view }: { lead: Lead; view: Window }) {
  const { t } = useTranslation();
  const { low, high } = envelope(lead, view.from, view.to, 10);
  const step = (view.to - view.from) / 10;
  return (
    <Scroll label={t('asTable')}>
      <Table mt="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">{t('ecg.time')}</Table.Th>
            <Table.Th scope="col">{t('ecg.least')}</Table.Th>
            <Table.Th scope="col">{t('ecg.greatest')}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {Array.from(low, (least, i) => (
            <Table.Tr key={i}>
              <Table.Th scope="row">{clock(view.from + i * step)}</Table.Th>
              <Table.Td>{Number.isNaN(least) ? '–' : `${number(least)} ${lead.unit}`}</Table.Td>
              <Table.Td>{Number.isNaN(least) ? '–' : `${number(high[i]!)} ${lead.unit}`}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Scroll>
  );
}
