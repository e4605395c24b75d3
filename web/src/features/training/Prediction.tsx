// What a model says of an opened image: warnings before numbers, where the network looked, where the
// model comes from. It is judged at the hospital that keeps the image.
import {
  Alert,
  Button,
  Group,
  NativeSelect,
  Slider,
  Stack,
  Switch,
  Table,
  Text,
  Title,
} from '@mantine/core';
import { IconAlertTriangle, IconInfoCircle } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ok, type Schema } from '../../api/client';
import { base64url, fromBase64url } from '../../lib/bytes';
import { number } from '../../lib/format';
import { action } from '../../records/command';
import type { Opened } from '../../records/open';
import { usePerson } from '../../session/use';
import { Answer, Dialog, Failure, Waiting } from '../../ui/page';
import type { Place } from '../care/queries';
import type { Heat } from '../record/ImageView';
import { Lineage } from './Lineage';
import type { Job } from './series';
import './words';

type Judged = Schema['PredictionView'];

const WARNINGS = ['wrong-modality', 'out-of-distribution', 'uncalibrated', 'unsure'] as const;

/** Finished models that a hospital trained with others, the newest first. */
function useModels(api: string, hospital: string) {
  const person = usePerson();
  return useQuery({
    queryKey: ['jobs', api],
    queryFn: async () => {
      const at = await person.at(api);
      const jobs = await person.list((after) =>
        ok(at.api.GET('/api/v1/jobs', { params: { query: { after, limit: 500 } } })),
      );
      const has = ({ stage, sites }: Job): boolean =>
        stage === 'done' &&
        sites.some(({ site, decision }) => site === hospital && decision === 'approve');
      return jobs.filter(has).reverse();
    },
  });
}

export function Prediction({
  opened,
  place,
  hospital,
  draw,
}: {
  opened: Opened;
  place: Place;
  /** Whose node keeps the image. */
  hospital: string;
  /** Lays a picture over the image. */
  draw: (heat?: Heat) => void;
}) {
  const { t } = useTranslation();
  const models = useModels(place.api, hospital);
  return (
    <Stack gap="xs" my="md" role="group" aria-label={t('f.p.title')}>
      <Title order={4} size="h5">
        {t('f.p.title')}
      </Title>
      <Answer query={models}>
        {(jobs) =>
          jobs.length === 0 ? (
            <Text c="dimmed">{t('f.p.none')}</Text>
          ) : (
            <Ask jobs={jobs} opened={opened} place={place} draw={draw} />
          )
        }
      </Answer>
    </Stack>
  );
}

function Ask({
  jobs,
  opened,
  place,
  draw,
}: {
  jobs: Job[];
  opened: Opened;
  place: Place;
  draw: (heat?: Heat) => void;
}) {
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const [chosen, setChosen] = useState(jobs[0]!.job);
  const job = jobs.find((one) => one.job === chosen) ?? jobs[0]!;
  const { record } = opened.anchor;
  const judge = useMutation({
    mutationFn: async () => {
      const at = await person.at(place.api);
      const use = action.useModel(job.job, job.model, place.alias, place.access, record);
      const image = base64url(opened.content.body);
      return person.act(use, (command) =>
        ok(at.api.POST('/api/v1/predictions', { body: { command, image, heat_map: true } })),
      );
    },
    onSuccess: () => {
      void queries.invalidateQueries({ queryKey: ['job', job.job] });
      void queries.invalidateQueries({ queryKey: ['receipts'] });
    },
  });
  return (
    <>
      <Text size="sm">{t('f.p.text')}</Text>
      {jobs.length > 1 && (
        <NativeSelect
          label={t('f.p.model')}
          maw={480}
          value={job.job}
          data={jobs.map(({ job: value, purpose, model }) => ({
            value,
            label: t('f.p.by', { purpose, digest: model.slice(0, 8) }),
          }))}
          onChange={(event) => {
            setChosen(event.currentTarget.value);
            judge.reset();
            draw();
          }}
        />
      )}
      {judge.isPending ? (
        <Waiting text={t('f.p.working')} />
      ) : (
        <div>
          <Button variant={judge.data ? 'default' : 'filled'} onClick={() => judge.mutate()}>
            {t('f.p.ask')}
          </Button>
        </div>
      )}
      {judge.error && <Failure error={judge.error} />}
      {judge.data && <Result judged={judge.data} job={job} api={place.api} draw={draw} />}
    </>
  );
}

function Result({
  judged,
  job,
  api,
  draw,
}: {
  judged: Judged;
  job: Job;
  api: string;
  draw: (heat?: Heat) => void;
}) {
  const { t } = useTranslation();
  const warnings = WARNINGS.filter((word) => judged.warnings.includes(word));
  const doubtful = judged.warnings.length > 0;
  const [numbers, setNumbers] = useState(false);
  const [origin, setOrigin] = useState(false);
  return (
    <Stack gap="sm">
      <Alert variant="outline" color="gray" icon={<IconInfoCircle aria-hidden />}>
        {t('f.p.not')}
      </Alert>
      {doubtful && (
        <Alert
          role="alert"
          variant="outline"
          color="yellow"
          icon={<IconAlertTriangle aria-hidden />}
          title={t('f.p.doubt')}
        >
          <ul>
            {warnings.map((word) => (
              <li key={word}>{t(`f.p.warning.${word}`)}</li>
            ))}
          </ul>
          {!numbers && (
            <Button className="long" variant="default" mt="xs" onClick={() => setNumbers(true)}>
              {t('f.p.numbers')}
            </Button>
          )}
        </Alert>
      )}
      {(!doubtful || numbers) && <Numbers judged={judged} doubtful={doubtful} />}
      {judged.heat_layer != null && <HeatControls layer={judged.heat_layer} draw={draw} />}
      <Text size="sm">
        {t('f.p.receipt', { number: judged.entry })}{' '}
        {t('f.p.by', { purpose: job.purpose, digest: judged.model.slice(0, 8) })}
      </Text>
      <div>
        <Button variant="default" onClick={() => setOrigin(true)}>
          {t('f.lineage')}
        </Button>
      </div>
      <Dialog title={t('f.lineage')} opened={origin} onClose={() => setOrigin(false)}>
        <Lineage job={job.job} api={api} />
      </Dialog>
    </Stack>
  );
}

function Numbers({ judged, doubtful }: { judged: Judged; doubtful: boolean }) {
  const { t } = useTranslation();
  const images = judged.calibration.images.reduce((sum, count) => sum + count, 0);
  return (
    <>
      {!doubtful && <Text fw={600}>{t('f.p.likely', { class: judged.class })}</Text>}
      <Table maw={480}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">{t('f.p.class')}</Table.Th>
            <Table.Th scope="col">{t('f.p.probability')}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {judged.probabilities.map(({ class: name, probability }) => (
            <Table.Tr key={name}>
              <Table.Th scope="row" className="wrap">
                {name}
              </Table.Th>
              <Table.Td w="55%">
                {number(probability * 100, 0)} %
                <div
                  aria-hidden
                  style={{
                    height: 6,
                    borderRadius: 3,
                    width: `${probability * 100}%`,
                    background: 'var(--mantine-color-anchor)',
                  }}
                />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {!doubtful && judged.calibration.calibrated && (
        <Text size="sm" c="dimmed">
          {t('f.p.calibrated', { count: images })}
        </Text>
      )}
    </>
  );
}

function HeatControls({ layer, draw }: { layer: string; draw: (heat?: Heat) => void }) {
  const { t } = useTranslation();
  const [shown, setShown] = useState(true);
  const [opacity, setOpacity] = useState(50);
  const picture = useQuery({
    queryKey: ['heat', layer.length, layer.slice(0, 256), layer.slice(-256)],
    retry: false,
    gcTime: 0,
    queryFn: () => createImageBitmap(new Blob([fromBase64url(layer)], { type: 'image/png' })),
  });
  const bitmap = picture.data;
  useEffect(() => {
    draw(shown && bitmap ? { bitmap, opacity: opacity / 100 } : undefined);
  }, [bitmap, draw, opacity, shown]);
  useEffect(() => () => draw(undefined), [draw]);
  if (picture.error) return <Failure error={picture.error} />;
  return (
    <div>
      <Group gap="lg" align="flex-end">
        <Switch
          label={`${t('f.p.heat')}: ${t('f.p.heatShow')}`}
          checked={shown}
          onChange={(event) => setShown(event.currentTarget.checked)}
        />
        <div style={{ flex: '1 1 180px', maxWidth: 320 }}>
          <Text size="sm">
            {t('f.p.opacity')}: {opacity} %
          </Text>
          <Slider
            thumbLabel={t('f.p.opacity')}
            label={null}
            min={0}
            max={100}
            step={5}
            value={opacity}
            disabled={!shown}
            onChange={setOpacity}
          />
        </div>
      </Group>
      <Text size="sm" c="dimmed" mt={4}>
        {t('f.p.heatText')}
      </Text>
    </div>
  );
}
