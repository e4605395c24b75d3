// A picture with window and level, zoom and turning over; drag on the picture changes the window.
import { Button, Group, Slider, Stack, Switch, Text } from '@mantine/core';
import { IconZoomIn, IconZoomOut } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { saveFile } from '../../lib/save';
import type { Opened } from '../../records/open';
import { Empty, Waiting } from '../../ui/page';
import { applyWindow, type Picture, readPicture } from './picture';

/** About as many pixels as are drawn again in a frame. */
const MOVING_PIXELS = 1_500_000;
/** Without a move for so long, the picture is drawn in full again, in ms. */
const SETTLED_MS = 150;

/** A picture laid over the whole image, for example where a network looked. */
export interface Heat {
  bitmap: ImageBitmap;
  /** 0 to 1. */
  opacity: number;
}

export function ImageView({ opened, title, heat }: { opened: Opened; title: string; heat?: Heat }) {
  const { t } = useTranslation();
  const { mediaType, body } = opened.content;
  const picture = useQuery({
    queryKey: ['picture', opened.anchor.record],
    queryFn: () => readPicture(mediaType, body),
    retry: false,
    gcTime: 0,
  });
  if (picture.isPending) return <Waiting text={t('image.reading')} />;
  if (picture.error)
    return (
      <Empty>
        <Text>{t('image.notShown')}</Text>
        <Button variant="default" mt="sm" onClick={() => saveFile(title, mediaType, body)}>
          {t('save')}
        </Button>
      </Empty>
    );
  return <Viewer picture={picture.data} title={title} heat={heat} />;
}

function Viewer({ picture, title, heat }: { picture: Picture; title: string; heat?: Heat }) {
  const { t } = useTranslation();
  const canvas = useRef<HTMLCanvasElement>(null);
  const whole = {
    width: Math.max(1, picture.greatest - picture.least),
    level: (picture.greatest + picture.least) / 2,
  };
  const [shown, setShown] = useState(picture.window ?? whole);
  const [inverted, setInverted] = useState(false);
  const [zoom, setZoom] = useState(1);
  // While the window moves, large pictures are drawn coarser, so that every frame is there in time.
  const [moving, setMoving] = useState(0);
  const step =
    moving > 0 ? Math.ceil(Math.sqrt((picture.width * picture.height) / MOVING_PIXELS)) : 1;
  const drawn = useRef<{ image: ImageData; pixels: Uint32Array }>(undefined);
  useEffect(() => {
    if (moving === 0) return;
    const timer = setTimeout(() => setMoving(0), SETTLED_MS);
    return () => clearTimeout(timer);
  }, [moving]);

  useEffect(() => {
    const context = canvas.current!.getContext('2d')!;
    if (picture.colour) {
      context.drawImage(picture.colour, 0, 0);
      return;
    }
    const [width, height] = [Math.ceil(picture.width / step), Math.ceil(picture.height / step)];
    if (drawn.current?.image.width !== width || drawn.current.image.height !== height) {
      const image = context.createImageData(width, height);
      drawn.current = { image, pixels: new Uint32Array(image.data.buffer) };
    }
    const { image, pixels } = drawn.current;
    applyWindow(picture, shown.width, shown.level, inverted !== picture.inverted, pixels, step);
    context.putImageData(image, 0, 0);
  }, [picture, shown, inverted, step]);

  const change = (next: (old: typeof shown) => typeof shown): void => {
    setShown(next);
    setMoving((count) => count + 1);
  };

  const drag = (event: React.PointerEvent): void => {
    if (event.buttons === 0 || picture.colour) return;
    const unit = whole.width / 400;
    change(({ width, level }) => ({
      width: Math.max(1, Math.round(width + event.movementX * unit)),
      level: Math.round(level + event.movementY * unit),
    }));
  };
  return (
    <Stack gap="sm">
      <Group gap="xs">
        <Button
          variant="default"
          leftSection={<IconZoomIn size={18} aria-hidden />}
          onClick={() => setZoom((z) => Math.min(8, z * 1.5))}
        >
          {t('zoom.in')}
        </Button>
        <Button
          variant="default"
          leftSection={<IconZoomOut size={18} aria-hidden />}
          onClick={() => setZoom((z) => Math.max(1, z / 1.5))}
        >
          {t('zoom.out')}
        </Button>
        <Button
          variant="default"
          onClick={() => {
            setShown(picture.window ?? whole);
            setZoom(1);
            setInverted(false);
          }}
        >
          {t('image.reset')}
        </Button>
      </Group>
      <section
        className="viewer"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a zoomed picture is scrolled by keys
        tabIndex={0}
        aria-label={t('image.picture', { title })}
      >
        <div
          style={{
            position: 'relative',
            width: `${zoom * 100}%`,
            maxWidth: zoom === 1 ? 720 : 'none',
            margin: '0 auto',
          }}
        >
          <canvas
            ref={canvas}
            className="image"
            role="img"
            aria-label={title}
            width={Math.ceil(picture.width / step)}
            height={Math.ceil(picture.height / step)}
            style={{ width: '100%' }}
            onPointerMove={drag}
          />
          {heat && <Overlay heat={heat} />}
        </div>
      </section>
      {!picture.colour && (
        <Group grow align="flex-start" preventGrowOverflow={false} gap="lg">
          <div>
            <Text size="sm">
              {t('image.window')}: {Math.round(shown.width)}
            </Text>
            <Slider
              thumbLabel={t('image.window')}
              label={null}
              min={1}
              max={Math.round(whole.width * 1.5)}
              value={Math.round(shown.width)}
              onChange={(width) => change((old) => ({ ...old, width }))}
            />
          </div>
          <div>
            <Text size="sm">
              {t('image.level')}: {Math.round(shown.level)}
            </Text>
            <Slider
              thumbLabel={t('image.level')}
              label={null}
              min={picture.least}
              max={Math.max(picture.least + 1, picture.greatest)}
              value={Math.round(shown.level)}
              onChange={(level) => change((old) => ({ ...old, level }))}
            />
          </div>
          <Switch
            mt="md"
            label={t('image.invert')}
            checked={inverted}
            onChange={(event) => setInverted(event.currentTarget.checked)}
          />
        </Group>
      )}
    </Stack>
  );
}

function Overlay({ heat: { bitmap, opacity } }: { heat: Heat }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current!.getContext('2d')!;
    context.clearRect(0, 0, bitmap.width, bitmap.height);
    context.drawImage(bitmap, 0, 0);
  }, [bitmap]);
  return (
    <canvas
      ref={canvas}
      aria-hidden
      data-testid="heat"
      width={bitmap.width}
      height={bitmap.height}
      style={{
        position: 'absolute',
        inset: 0,
        width: '100%',
        height: '100%',
        opacity,
        pointerEvents: 'none',
      }}
    />
  );
}
