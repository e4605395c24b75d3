// A figure over the rounds of a job: lines for all hospitals together and for each, and the same as a
// table. Lines differ by dashes and marks, not by colour alone.
import { Group, Switch, Table, Text, Title } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { number } from '../../lib/format';
import { Scroll } from '../../ui/page';
import { type Line, scale, ticks } from './series';

const HEIGHT = 240;
const MARGIN = { left: 52, right: 16, top: 12, bottom: 34 };
const TICK_PX = 56;

interface Look {
  stroke: string;
  dash?: string;
  width: number;
}

const TOGETHER: Look = { stroke: 'var(--salus-trace)', width: 3 };
const SITES: Look[] = [
  { stroke: 'var(--mantine-color-anchor)', width: 2, dash: '7 4' },
  { stroke: 'var(--salus-warn)', width: 2, dash: '2 3' },
  { stroke: 'var(--salus-bad)', width: 2, dash: '10 3 2 3' },
  { stroke: 'var(--salus-good)', width: 2, dash: '4 2' },
];

const looksOf = (lines: Line[]): Look[] => {
  let site = 0;
  return lines.map(({ pooled }) => (pooled ? TOGETHER : SITES[site++ % SITES.length]!));
};

export function Chart({
  title,
  note,
  lines,
  digits = 3,
}: {
  title: string;
  note: string;
  lines: Line[];
  digits?: number;
}) {
  const { t } = useTranslation();
  const [table, setTable] = useState(false);
  const looks = looksOf(lines);
  const said = lines.map(({ name, points }) =>
    t('f.chart.line', {
      name,
      first: number(points[0]!.value, digits),
      last: number(points.at(-1)!.value, digits),
    }),
  );
  return (
    <figure style={{ margin: 0 }}>
      <figcaption>
        <Title order={3} size="h5">
          {title}
        </Title>
        <Text size="sm" c="dimmed">
          {note}
        </Text>
      </figcaption>
      <Plot lines={lines} looks={looks} label={`${title}. ${said.join('. ')}`} digits={digits} />
      <Group component="ul" className="plain" gap="md" role="list">
        {lines.map(({ name }, at) => (
          <Group component="li" gap={6} key={name} wrap="nowrap" miw={0}>
            <svg width="34" height="10" aria-hidden="true" style={{ flexShrink: 0 }}>
              <line x1="1" y1="5" x2="33" y2="5" style={styleOf(looks[at]!)} />
            </svg>
            <Text size="sm" className="wrap">
              {name}
            </Text>
          </Group>
        ))}
      </Group>
      <Switch
        mt="xs"
        label={t('asTableOf', { name: title })}
        checked={table}
        onChange={(event) => setTable(event.currentTarget.checked)}
      />
      {table && <Figures title={title} lines={lines} digits={digits} />}
    </figure>
  );
}

const styleOf = ({ stroke, width, dash }: Look) => ({
  stroke,
  strokeWidth: width,
  strokeDasharray: dash,
  fill: 'none',
});

function Plot({
  lines,
  looks,
  label,
  digits,
}: {
  lines: Line[];
  looks: Look[];
  label: string;
  digits: number;
}) {
  const { t } = useTranslation();
  const { ref, width } = useElementSize();
  const rounds = lines.flatMap(({ points }) => points.map(({ round }) => round));
  const [first, last] = [Math.min(...rounds), Math.max(...rounds)];
  const { least, greatest, steps } = scale(
    lines.flatMap(({ points }) => points.map(({ value }) => value)),
  );
  const inner = Math.max(1, width - MARGIN.left - MARGIN.right);
  const x = (round: number): number =>
    MARGIN.left + (last === first ? inner / 2 : ((round - first) / (last - first)) * inner);
  const tall = HEIGHT - MARGIN.top - MARGIN.bottom;
  const y = (value: number): number =>
    MARGIN.top + (1 - (value - least) / (greatest - least)) * tall;
  const text = { fill: 'var(--mantine-color-text)', fontSize: 12 };
  return (
    <div ref={ref}>
      <svg width="100%" height={HEIGHT} role="img" aria-label={label}>
        {steps.map((step) => (
          <g key={step}>
            <line
              x1={MARGIN.left}
              x2={MARGIN.left + inner}
              y1={y(step)}
              y2={y(step)}
              style={{ stroke: 'var(--salus-line)' }}
            />
            <text x={MARGIN.left - 6} y={y(step) + 4} textAnchor="end" style={text}>
              {number(step, digits)}
            </text>
          </g>
        ))}
        {ticks(first, last, Math.max(2, Math.floor(inner / TICK_PX))).map((round) => (
          <text key={round} x={x(round)} y={HEIGHT - 16} textAnchor="middle" style={text}>
            {round}
          </text>
        ))}
        <text x={MARGIN.left + inner} y={HEIGHT - 2} textAnchor="end" style={text}>
          {t('f.round')}
        </text>
        {lines.map(({ name, points, pooled }, at) => (
          <g key={name}>
            <polyline
              points={points.map((p) => `${x(p.round)},${y(p.value)}`).join(' ')}
              style={styleOf(looks[at]!)}
            />
            {points.map((p) => (
              <circle
                key={p.round}
                cx={x(p.round)}
                cy={y(p.value)}
                r={pooled ? 4 : 3}
                style={{ fill: looks[at]!.stroke }}
              />
            ))}
          </g>
        ))}
      </svg>
    </div>
  );
}

function Figures({ title, lines, digits }: { title: string; lines: Line[]; digits: number }) {
  const { t } = useTranslation();
  const rounds = [...new Set(lines.flatMap(({ points }) => points.map(({ round }) => round)))];
  rounds.sort((a, b) => a - b);
  return (
    <Scroll label={title}>
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">{t('f.round')}</Table.Th>
            {lines.map(({ name }) => (
              <Table.Th scope="col" key={name}>
                {name}
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rounds.map((round) => (
            <Table.Tr key={round}>
              <Table.Th scope="row">{round}</Table.Th>
              {lines.map(({ name, points }) => {
                const found = points.find((point) => point.round === round);
                return <Table.Td key={name}>{found ? number(found.value, digits) : '–'}</Table.Td>;
              })}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Scroll>
  );
}
