// Taking one patient in: the form and files, a look at all of it, then sealed and anchored.
import { Button, Group, Progress, Stack, Text, Title } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { size } from '../../lib/format';
import { usePerson } from '../../session/use';
import { Answer, Failure, Page } from '../../ui/page';
import { type Looked, sizeOf } from './files';
import { type Classed, EMPTY, type Form, piecesOf } from './form';
import { IntakeForm, type Whose } from './IntakeForm';
import { type Patient, shortOf, usePatientName, usePatients } from './queries';
import { Intake, NoClassKey, type Subject, type Taken } from './seal';

/** What was entered, kept while it is checked and corrected. */
export interface Draft {
  whose: Whose;
  form: Form;
  files: Looked[];
}

/** Names stay readable, unless this hospital seals them. */
const readableAtFirst = (patients: Patient[]): boolean =>
  patients.length === 0 || patients.some(({ name }) => name);

export function IntakePage() {
  const { t } = useTranslation();
  const patients = usePatients();
  // Another number starts the page anew.
  const [round, setRound] = useState(0);
  return (
    <Page title={t('nav.h.intake')}>
      <Answer query={patients}>
        {(list) => <OneIntake key={round} patients={list} again={() => setRound(round + 1)} />}
      </Answer>
    </Page>
  );
}

function OneIntake({ patients, again }: { patients: Patient[]; again: () => void }) {
  const person = usePerson();
  const called = usePatientName();
  const [draft, setDraft] = useState<Draft>({
    whose: { fresh: true, readable: readableAtFirst(patients) },
    form: EMPTY,
    files: [],
  });
  const [checked, setChecked] = useState<{ intake: Intake; pieces: Classed[] }>();
  const [taken, setTaken] = useState<Taken>();
  const { whose, form } = draft;
  const known = whose.fresh ? undefined : patients.find(({ alias }) => alias === whose.alias);
  const name = known ? called(known) : form.name.trim();
  if (taken) return <Done taken={taken} name={name} again={again} />;
  if (checked)
    return (
      <Check
        {...checked}
        name={name}
        skipped={draft.files.filter(({ refused }) => refused).length}
        back={() => setChecked(undefined)}
        done={setTaken}
      />
    );
  return (
    <IntakeForm
      patients={patients}
      draft={draft}
      change={setDraft}
      check={() => {
        const files = draft.files.flatMap(({ piece }) => piece ?? []);
        const medical = files.map((piece): Classed => ({ ...piece, class: 'medical' }));
        const pieces = [...piecesOf(form, whose.fresh, Date.now()), ...medical];
        const subject: Subject = whose.fresh
          ? { fresh: true, name, readable: whose.readable }
          : { fresh: false, alias: whose.alias };
        setChecked({ intake: new Intake(person, subject, pieces), pieces });
      }}
    />
  );
}

function Check(props: {
  intake: Intake;
  pieces: Classed[];
  name: string;
  skipped: number;
  back: () => void;
  done: (taken: Taken) => void;
}) {
  const { intake, pieces, name, skipped, back, done } = props;
  const { t } = useTranslation();
  const queries = useQueryClient();
  const [part, setPart] = useState(0);
  const sealing = useMutation({
    mutationFn: () => intake.run(setPart),
    onSuccess: async (taken) => {
      await queries.invalidateQueries({ queryKey: ['patients'] });
      done(taken);
    },
  });
  return (
    <Stack maw={720}>
      <Title order={2} size="h4" className="wrap">
        {t('h.check', { name })}
      </Title>
      <ul className="plain">
        {pieces.map((piece, at) => (
          <li key={at}>
            <Group justify="space-between" py={6} align="flex-start" wrap="nowrap">
              <div className="wrap">
                <Text fw={600}>{t(`h.kind.${piece.kind}`)}</Text>
                <Text size="sm" className="wrap">
                  {summary(piece)}
                </Text>
              </div>
              <Text size="sm" c="dimmed" flex="none">
                {piece.signed ? t('h.check.signed') : size(sizeOf(piece.body))}
              </Text>
            </Group>
          </li>
        ))}
      </ul>
      {skipped > 0 && <Text className="warn">{t('h.check.skipped', { count: skipped })}</Text>}
      <Text>{t('h.check.text')}</Text>
      {sealing.error && (
        <>
          {sealing.error instanceof NoClassKey ? (
            <Text role="alert" className="bad">
              {t('h.noKey')}
            </Text>
          ) : (
            <Failure error={sealing.error} />
          )}
          <Text>{t('h.retry')}</Text>
        </>
      )}
      {/* No spinner: its frames would take time from the sealing. */}
      {sealing.isPending && (
        <div>
          <Text role="status">{`${t('h.sealing')} (${Math.round(part * 100)} %)`}</Text>
          <Progress value={part * 100} aria-label={t('h.sealing')} mt={4} />
        </div>
      )}
      <Group>
        <Button className="long" disabled={sealing.isPending} onClick={() => sealing.mutate()}>
          {t('h.seal', { name })}
        </Button>
        {/* What was sent keeps its ids; a changed form would be another intake. */}
        {!sealing.isPending && !sealing.error && (
          <Button variant="default" onClick={back}>
            {t('back')}
          </Button>
        )}
      </Group>
    </Stack>
  );
}

/** What a piece says, in its own words. */
function summary({ kind, title, body, mediaType }: Classed): string {
  if (mediaType !== 'application/fhir+json' || body instanceof Blob) return title;
  const resource = JSON.parse(new TextDecoder().decode(body));
  switch (kind) {
    case 'demographics': {
      const telecom: { value: string }[] = resource.telecom ?? [];
      const parts = [resource.id, resource.name[0].text, resource.address?.[0].text];
      return [...parts, ...telecom.map(({ value }) => value)].filter(Boolean).join(', ');
    }
    case 'quasi-identifiers':
      return resource.birthDate ?? '–';
    case 'vitals':
      return `${resource.valueQuantity.value} ${resource.valueQuantity.unit}`;
    default: {
      const code = resource.code.coding?.[0]?.code;
      return code ? `${resource.code.text} (${code})` : resource.code.text;
    }
  }
}

function Done({ taken, name, again }: { taken: Taken; name: string; again: () => void }) {
  const { t } = useTranslation();
  return (
    <Stack maw={720}>
      <Title order={2} size="h4" className="good">
        {t('h.done')}
      </Title>
      <Text role="status" className="wrap">
        {t('h.done.text', { count: taken.records.length, name })}
      </Text>
      <Text>{t('h.done.reference', { number: shortOf(taken.alias) })}</Text>
      <Text>{taken.entries.map((number) => t('entry', { number })).join(', ')}</Text>
      <Group>
        <Button component={Link} to={`/hospital/patients/${taken.alias}`}>
          {t('h.done.show')}
        </Button>
        <Button variant="default" onClick={again}>
          {t('h.done.next')}
        </Button>
      </Group>
    </Stack>
  );
}
