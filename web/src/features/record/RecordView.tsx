// The opened entries of one section, each kind in its own form.
import {
  Accordion,
  Badge,
  Button,
  Card,
  Group,
  SimpleGrid,
  Stack,
  Switch,
  Table,
  Text,
  Title,
} from '@mantine/core';
import { IconCircleCheck } from '@tabler/icons-react';
import { type ReactNode, useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { age, date, dateTime, number, size } from '../../lib/format';
import { endingOf, saveFile } from '../../lib/save';
import { type Opened, reference } from '../../records/open';
import { Empty, Failure, Scroll } from '../../ui/page';
import { useNames } from '../care/names';
import { EcgView } from './EcgView';
import { decodeEcg, ECG_MEDIA_TYPE } from './ecg';
import { type About, aboutOf, type Item, itemOf, newestFirst, type Value } from './fhir';
import { type Heat, ImageView } from './ImageView';
import { verdict } from './ranges';
import type { Section } from './sections';

const SHOWN = 40;

/** What stands beside a picture; `draw` lays something over it. */
export type Beside = (opened: Opened, draw: (heat?: Heat) => void) => ReactNode;

export function SectionView({
  section,
  opened,
  beside,
}: {
  section: Section;
  opened: Opened[];
  beside?: Beside;
}) {
  const { t } = useTranslation();
  const items = useMemo(() => newestFirst(opened.map(itemOf)), [opened]);
  if (items.length === 0) return <Empty>{t('record.none')}</Empty>;
  switch (section) {
    case 'person':
      return <PersonCard about={aboutOf(items)} />;
    case 'vitals':
    case 'results':
      return <Values items={items} />;
    case 'ecg':
      return <Ecgs items={items} />;
    case 'images':
      return <Pictures items={items} beside={beside} />;
    case 'documents':
      return <Documents items={items} />;
    default:
      return <Entries items={items} />;
  }
}

export function PersonCard({ about }: { about: About }) {
  const { t } = useTranslation();
  const years = age(about.birthDate);
  const facts: [string, string | undefined][] = [
    [t('profile.name'), about.name],
    [
      t('person.born'),
      about.birthDate &&
        `${date(about.birthDate)}${years === undefined ? '' : ` (${t('person.age', { years })})`}`,
    ],
    [t('person.gender'), about.gender],
    [t('profile.phone'), about.phone],
    [t('profile.email'), about.email],
    [t('profile.address'), about.address],
    [t('person.number'), about.identifier],
  ];
  return (
    <Card withBorder>
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        {facts
          .filter(([, text]) => text)
          .map(([word, text]) => (
            <div key={word} className="wrap">
              <Text size="sm" c="dimmed">
                {word}
              </Text>
              <Text>{text}</Text>
            </div>
          ))}
      </SimpleGrid>
    </Card>
  );
}

/** Where a record is from, and that it was checked. `by` names the signer where only the page can. */
export function Source({ opened, by }: { opened: Opened; by?: string }) {
  const { t } = useTranslation();
  const name = useNames();
  const { statement, signer } = opened;
  return (
    <Group gap={6} wrap="nowrap" align="flex-start">
      <IconCircleCheck
        size={18}
        className="good"
        aria-hidden
        style={{ flexShrink: 0, marginTop: 2 }}
      />
      <Text size="sm" className="wrap">
        {statement
          ? t('source.signed', { name: by ?? name(signer), at: dateTime(statement.signed) })
          : t('source.from', { name: name(signer) })}{' '}
        <Text span size="sm" c="dimmed">
          {t('source.reference', { reference: reference(opened.anchor.record) })}
        </Text>
      </Text>
    </Group>
  );
}

function More({ items, show }: { items: Item[]; show: (items: Item[]) => React.ReactNode }) {
  const { t } = useTranslation();
  const [count, setCount] = useState(SHOWN);
  return (
    <Stack>
      {show(items.slice(0, count))}
      {items.length > count && (
        <Button variant="default" onClick={() => setCount(count + SHOWN)}>
          {t('more', { count: items.length - count })}
        </Button>
      )}
    </Stack>
  );
}

function Facts({ item }: { item: Item }) {
  const { t } = useTranslation();
  return (
    <Group gap="xs" mt={4}>
      {item.facts.map(([fact, text]) => (
        <Text key={fact + text} size="sm" className="wrap">
          <Text span size="sm" c="dimmed">
            {t(`fact.${fact}`)}:
          </Text>{' '}
          {fact === 'until' ? date(text) : text}
        </Text>
      ))}
    </Group>
  );
}

function Entries({ items }: { items: Item[] }) {
  return (
    <More
      items={items}
      show={(some) => (
        <Stack gap="xs">
          {some.map((item) => (
            <Card withBorder key={item.record} padding="sm">
              <Group justify="space-between" gap="xs" align="flex-start">
                <Text fw={600} className="wrap">
                  {item.title}
                </Text>
                {item.when && <Text c="dimmed">{date(item.when)}</Text>}
              </Group>
              {item.text && (
                <Text className="wrap" style={{ whiteSpace: 'pre-wrap' }}>
                  {item.text}
                </Text>
              )}
              <Facts item={item} />
              <Source opened={item.opened} />
            </Card>
          ))}
        </Stack>
      )}
    />
  );
}

interface Series {
  name: string;
  unit: string;
  points: { when?: string; value: Value; item: Item }[];
}

/** Values of one kind together, newest first. */
export function seriesOf(items: Item[]): { series: Series[]; rest: Item[] } {
  const found = new Map<string, Series>();
  const rest: Item[] = [];
  for (const item of items) {
    if (item.values.length === 0) rest.push(item);
    for (const value of item.values) {
      const key = `${value.code}|${value.unit}`;
      const series = found.get(key) ?? { name: value.name, unit: value.unit, points: [] };
      series.points.push({ when: item.when, value, item });
      found.set(key, series);
    }
  }
  return { series: [...found.values()], rest };
}

function Values({ items }: { items: Item[] }) {
  const { series, rest } = useMemo(() => seriesOf(items), [items]);
  return (
    <Stack>
      <SimpleGrid cols={{ base: 1, md: 2 }}>
        {series.map((one) => (
          <ValueCard key={one.name + one.unit} series={one} />
        ))}
      </SimpleGrid>
      {rest.length > 0 && <Entries items={rest} />}
    </Stack>
  );
}

function ValueCard({ series }: { series: Series }) {
  const { t } = useTranslation();
  const [table, setTable] = useState(false);
  const { value, when, item } = series.points[0]!;
  const { range } = value;
  const found = verdict(value.value, range);
  const bounds =
    range &&
    (range.low !== undefined && range.high !== undefined
      ? `${number(range.low)}–${number(range.high)}`
      : range.low !== undefined
        ? `≥ ${number(range.low)}`
        : `≤ ${number(range.high!)}`);
  return (
    <Card withBorder>
      <Title order={3} size="h5" className="wrap">
        {series.name}
      </Title>
      <Text fz={26} fw={700}>
        {number(value.value)}{' '}
        <Text span size="md" fw={400}>
          {series.unit}
        </Text>
      </Text>
      <Text size="sm" c="dimmed">
        {dateTime(when)}
      </Text>
      {range && bounds && (
        <>
          <NumberLine value={value} />
          <Text size="sm" className={found === 'within' ? 'good' : 'warn'}>
            {t(`verdict.${found}`)}{' '}
            {t(range.own ? 'verdict.own' : 'verdict.usual', { bounds, unit: series.unit })}
          </Text>
        </>
      )}
      {!range && <Text size="sm">{t('verdict.unknown')}</Text>}
      {series.points.length > 1 && (
        <>
          <Sparkline series={series} />
          <Switch
            mt={4}
            label={t('asTableOf', { name: series.name })}
            checked={table}
            onChange={(event) => setTable(event.currentTarget.checked)}
          />
        </>
      )}
      {table && (
        <Scroll label={t('asTableOf', { name: series.name })}>
          <Table>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">{t('when')}</Table.Th>
                <Table.Th scope="col">{t('value')}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {series.points.map((point) => (
                <Table.Tr key={point.item.record + point.value.code}>
                  <Table.Td>{dateTime(point.when)}</Table.Td>
                  <Table.Td>
                    {number(point.value.value)} {series.unit}
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Scroll>
      )}
      <Source opened={item.opened} />
    </Card>
  );
}

/** The value on a line, with the usual range as a band. */
function NumberLine({ value: { value, range } }: { value: Value }) {
  const low = range!.low ?? Math.min(0, value);
  const high = range!.high ?? Math.max(value * 1.2, low + 1);
  const room = Math.max(high - low, 1e-9) * 0.75;
  const [from, to] = [Math.min(low - room, value), Math.max(high + room, value)];
  const x = (v: number) => 4 + ((v - from) / (to - from)) * 312;
  return (
    <svg className="range" viewBox="0 0 320 28" aria-hidden>
      <rect x="0" y="12" width="320" height="4" rx="2" fill="var(--salus-line)" />
      <rect
        x={x(low)}
        y="8"
        width={x(high) - x(low)}
        height="12"
        rx="3"
        fill="var(--salus-good)"
        opacity="0.45"
      />
      <path d={`M${x(value)} 4 l5 8 -5 8 -5 -8 z`} fill="var(--mantine-color-text)" />
    </svg>
  );
}

function Sparkline({ series }: { series: Series }) {
  const { t } = useTranslation();
  const points = [...series.points].reverse();
  const values = points.map((p) => p.value.value);
  const [least, greatest] = [Math.min(...values), Math.max(...values)];
  const x = (i: number) => 6 + (i / (points.length - 1)) * 308;
  const y = (v: number) => 40 - ((v - least) / (greatest - least || 1)) * 32;
  const path = values
    .map((v, i) => `${i === 0 ? 'M' : 'L'}${x(i).toFixed(1)} ${y(v).toFixed(1)}`)
    .join('');
  const label = t('trend', {
    count: points.length,
    least: number(least),
    greatest: number(greatest),
    unit: series.unit,
  });
  return (
    <svg className="sparkline" viewBox="0 0 320 48" role="img" aria-label={label}>
      <path d={path} fill="none" stroke="var(--mantine-color-anchor)" strokeWidth="2" />
      <circle
        cx={x(values.length - 1)}
        cy={y(values.at(-1)!)}
        r="4"
        fill="var(--mantine-color-anchor)"
      />
    </svg>
  );
}

function Ecgs({ items }: { items: Item[] }) {
  return (
    <Stack>
      {items.map((item) => (
        <EcgCard key={item.record} item={item} />
      ))}
    </Stack>
  );
}

function EcgCard({ item }: { item: Item }) {
  const { t } = useTranslation();
  const { mediaType, body } = item.opened.content;
  const read = useMemo(() => {
    if (mediaType !== ECG_MEDIA_TYPE) return undefined;
    try {
      return { ecg: decodeEcg(body) };
    } catch (error) {
      return { error };
    }
  }, [mediaType, body]);
  return (
    <Card withBorder>
      <Title order={3} size="h5" mb="xs" className="wrap">
        {item.title}
      </Title>
      {read?.ecg && read.ecg.leads.length > 0 && <EcgView ecg={read.ecg} title={item.title} />}
      {read?.ecg?.remarks.map((remark) => (
        <Text key={remark} size="sm" className="wrap">
          {remark}
        </Text>
      ))}
      {read?.error !== undefined && <Failure error={read.error} />}
      {!read && (
        <Empty>
          <Text>{t('image.notShown')}</Text>
          <Button variant="default" mt="sm" onClick={() => saveFile(item.title, mediaType, body)}>
            {t('save')}
          </Button>
        </Empty>
      )}
      <Source opened={item.opened} />
    </Card>
  );
}

const isPicture = (item: Item): boolean =>
  ['application/dicom', 'image/png', 'image/jpeg'].includes(item.opened.content.mediaType);

function PictureCard({ item, beside }: { item: Item; beside?: Beside }) {
  const [heat, draw] = useState<Heat>();
  return (
    <Card withBorder>
      <Title order={3} size="h5" mb="xs" className="wrap">
        {item.title}
      </Title>
      <ImageView opened={item.opened} title={item.title} heat={heat} />
      {beside?.(item.opened, draw)}
      <Source opened={item.opened} />
    </Card>
  );
}

function Pictures({ items, beside }: { items: Item[]; beside?: Beside }) {
  const pictures = items.filter(isPicture);
  const rest = items.filter((item) => !isPicture(item));
  return (
    <Stack>
      {pictures.map((item) => (
        <PictureCard key={item.record} item={item} beside={beside} />
      ))}
      {rest.length > 0 && <Entries items={rest} />}
    </Stack>
  );
}

function Documents({ items }: { items: Item[] }) {
  const { t } = useTranslation();
  return (
    <More
      items={[...items].sort(
        (a, b) => Number(Boolean(b.opened.statement)) - Number(Boolean(a.opened.statement)),
      )}
      show={(some) => (
        <Accordion variant="separated" multiple>
          {some.map((item) => (
            <Accordion.Item key={item.record} value={item.record}>
              <Accordion.Control>
                <Group gap="xs">
                  <Text fw={600} className="wrap">
                    {item.title}
                  </Text>
                  {item.when && <Text c="dimmed">{date(item.when)}</Text>}
                  {item.opened.statement && (
                    <Badge variant="outline" color="gray" className="good">
                      {t('source.badge')}
                    </Badge>
                  )}
                </Group>
              </Accordion.Control>
              <Accordion.Panel>
                <Stack gap="sm">
                  {item.text && (
                    <Text className="wrap" style={{ whiteSpace: 'pre-wrap' }}>
                      {item.text}
                    </Text>
                  )}
                  <Facts item={item} />
                  <Source opened={item.opened} />
                  {endingOf(item.opened.content.mediaType) !== '.json' && (
                    <Button
                      variant="default"
                      onClick={() =>
                        saveFile(
                          item.title,
                          item.opened.content.mediaType,
                          item.opened.content.body,
                        )
                      }
                    >
                      {t('saveOf', { size: size(item.opened.content.body.length) })}
                    </Button>
                  )}
                </Stack>
              </Accordion.Panel>
            </Accordion.Item>
          ))}
        </Accordion>
      )}
    />
  );
}
