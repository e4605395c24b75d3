// Taking my record along: on paper or as PDF, as a FHIR bundle, or everything with its proofs.
import { Button, Card, Group, Stack, Text, Title } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useEffect, useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { verifyAll } from '../../features/care/proofs';
import { type Place, readAt, useSealed } from '../../features/care/queries';
import { WithPlace } from '../../features/care/WithPlace';
import { aboutOf, isFhir, itemOf, newestFirst, resourceOf } from '../../features/record/fhir';
import { ORDER, sectionOf } from '../../features/record/sections';
import { utf8 } from '../../lib/bytes';
import { date, dateTime, number } from '../../lib/format';
import { endingOf, fileName, saveFile, zip } from '../../lib/save';
import type { Opened } from '../../records/open';
import { usePerson } from '../../session/use';
import { Answer, Empty, Failure, Page } from '../../ui/page';

export function Export() {
  const { t } = useTranslation();
  return (
    <Page title={t('nav.export')}>
      <Text maw={720} className="no-print">
        {t('export.text')}
      </Text>
      <WithPlace>
        {(place, own) => <Ways key={place.alias} place={place} from={own.custodian_name} />}
      </WithPlace>
    </Page>
  );
}

/** A FHIR R4 collection of every resource among the records; the two parts of a person joined. */
export function fhirBundle(opened: Opened[], now: number): object {
  const resources = opened.filter(isFhir).map(resourceOf);
  const people = resources.filter((r) => r.resourceType === 'Patient');
  const person = Object.assign({}, ...people.reverse());
  const rest = resources.filter((r) => r.resourceType && r.resourceType !== 'Patient');
  const all = people.length > 0 ? [person, ...rest] : rest;
  return {
    resourceType: 'Bundle',
    type: 'collection',
    timestamp: new Date(now).toISOString(),
    entry: all.map((resource) => ({ resource })),
  };
}

type Way = 'print' | 'fhir' | 'all';

function Ways({ place, from }: { place: Place; from: string }) {
  const { t } = useTranslation();
  const person = usePerson();
  const sealed = useSealed(place);
  const [done, setDone] = useState(0);
  const [printed, setPrinted] = useState<Opened[]>();
  const exporting = useMutation({
    mutationFn: async (way: Way) => {
      const list = sealed.data ?? [];
      const opened = await readAt(
        person,
        place,
        list.map((record) => record.record),
      );
      const now = Date.now();
      const fhir = utf8(JSON.stringify(fhirBundle(opened, now), null, 1));
      if (way === 'print') setPrinted(opened);
      if (way === 'fhir') saveFile('salus-record', 'application/fhir+json', fhir);
      if (way === 'all') {
        const proofs = await verifyAll(person, place, list, setDone);
        const others = opened
          .filter((record) => !isFhir(record))
          .map(({ anchor, content: { mediaType, title, body } }) => ({
            name: `files/${anchor.record.slice(0, 8)}-${fileName(title)}${endingOf(mediaType)}`,
            body,
          }));
        const files = proofs.files.map(({ name, body }) => ({ name: `proofs/${name}`, body }));
        const everything = [{ name: 'record.fhir.json', body: fhir }, ...others, ...files];
        saveFile('salus-record', 'application/zip', zip(everything));
      }
    },
  });
  useEffect(() => {
    if (printed) print();
  }, [printed]);
  const ways: Way[] = ['print', 'fhir', 'all'];
  return (
    <Answer query={sealed}>
      {(list) =>
        list.length === 0 ? (
          <Empty>{t('record.empty')}</Empty>
        ) : (
          <Stack>
            {ways.map((way) => (
              <Card withBorder key={way} className="no-print" maw={720}>
                <Title order={2} size="h4">
                  {t(`export.${way}`)}
                </Title>
                <Text mb="sm">{t(`export.${way}.text`)}</Text>
                <Group>
                  <Button
                    variant="default"
                    loading={exporting.isPending && exporting.variables === way}
                    disabled={exporting.isPending}
                    onClick={() => exporting.mutate(way)}
                  >
                    {t(`export.${way}.go`)}
                  </Button>
                </Group>
              </Card>
            ))}
            {exporting.error && <Failure error={exporting.error} />}
            <Text role="status" className="no-print">
              {exporting.isPending && exporting.variables === 'all'
                ? t('verify.done', { done, count: list.length })
                : exporting.isSuccess
                  ? t('export.done')
                  : ''}
            </Text>
            {printed && <Sheet opened={printed} from={from} />}
          </Stack>
        )
      }
    </Answer>
  );
}

/** The whole record as text, for paper. */
function Sheet({ opened, from }: { opened: Opened[]; from: string }) {
  const { t } = useTranslation();
  const items = useMemo(() => newestFirst(opened.map(itemOf)), [opened]);
  const about = aboutOf(items);
  return (
    <div className="print-only">
      <h2>{about.name}</h2>
      <p>
        {about.birthDate && `${t('person.born')}: ${date(about.birthDate)}. `}
        {t('export.sheet', { name: from, at: dateTime(Date.now()) })}
      </p>
      {ORDER.filter((section) => section !== 'person').map((section) => {
        const some = items.filter((item) => sectionOf(item.opened.anchor.kind) === section);
        if (some.length === 0) return null;
        return (
          <section key={section}>
            <h3>{t(`section.${section}`)}</h3>
            <ul>
              {some.map((item) => (
                <li key={item.record}>
                  {item.when && `${date(item.when)}: `}
                  {item.title}
                  {item.values.map((v) => `, ${v.name} ${number(v.value)} ${v.unit}`)}
                  {item.facts.map(([fact, text]) => `; ${t(`fact.${fact}`)}: ${text}`)}
                  {item.text && ` ${item.text.slice(0, 2000)}`}
                </li>
              ))}
            </ul>
          </section>
        );
      })}
    </div>
  );
}
