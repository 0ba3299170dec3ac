// What Python sends and what the viewer is given. Types only: nothing of this file reaches a browser.

/** All heads of a layer, one of them, or a set of any layers, as `L1H3,L0H2`. */
type Head = "mean" | "max" | number | HeadSet;
type HeadSet = `L${string}`;
/** One token, the mean over a range (first, last), both included, or over the scene's digits. */
type TokenChoice = number | [number, number] | "digits";

/** The whole state of looking; never changed in place. */
interface Choice {
  readonly token: TokenChoice;
  readonly layer: number;
  readonly window: number;
  readonly head: Head;
  readonly view: string;
  readonly against: string;
  readonly adapter: string;
  readonly opacity: number;
  readonly colormap: string;
  readonly diverging: string;
  readonly percentile: number;
  readonly log: boolean;
  readonly smooth: boolean;
  readonly fade: boolean;
  readonly marks: boolean;
  /** Whether the points and boxes that the answers say are drawn. */
  readonly said: boolean;
  /** What a person drew: boxes in whole pixels of the photo, whose union is measured. */
  readonly boxes: readonly Box[];
  /** What was put aside of the heads by a view that has no single ones. */
  readonly aside?: Head | null;
}
type Change = Partial<Choice>;
/** top, left, bottom, right, half-open. */
type Box = readonly [number, number, number, number];

interface Limits {
  low: number;
  high: number;
  log: boolean;
  signed: boolean;
  empty: boolean;
  words: string;
  line: string;
  ticks: [number, string][];
}

interface PaneHeader {
  variant: string;
  difference: boolean;
  of: string;
  scales: number[];
  signed: boolean;
  unit: string;
  factor: number;
  peaks: ([number, number] | null)[];
  lines: string[];
  alts: string[];
}

interface NumberRow {
  label: string;
  unit: string;
  values: string[];
  deltas: string[];
}
interface NumberTable {
  columns: string[];
  rows: NumberRow[];
  changes: string[];
}

interface Scale {
  shared: Limits[];
  difference: Limits[] | null;
  notes: string[][];
}

interface StackHeader {
  grid: [number, number];
  frames: number;
  choice: { token: TokenChoice; head: Head; view: string; window: number; against: string; variants: string[] };
  panes: PaneHeader[];
  /** A value that was sent differs from the one computed by at most this fraction of itself. */
  rounding: number;
  hidden: boolean[];
  sinks: number[][];
  headings: string[];
  numbers: NumberTable[];
  heads: [number, string][][];
  scale: Record<string, Scale>;
  /** Shares of attention: per variant and layer one entry per name. */
  groups: {
    names: string[];
    /** Of which layer, or of which heads, each entry is. */
    labels: string[];
    values: Record<string, number[][]>;
    texts: Record<string, string[][]>;
    changes: Record<string, string[][]>;
    about: string;
  };
  strip: {
    measure: string;
    unit: string;
    changes: (number | null)[][];
    words: string[][];
    shared: Limits;
    difference: Limits | null;
  };
}

interface HeadsHeader {
  grid: [number, number];
  frames: number;
  hidden: boolean;
  sinks: number[];
  layer: number;
  heads: number[];
  words: string[];
  panes: { variant: string; difference: boolean; of: string; scales: number[]; signed: boolean }[];
  shared: Limits;
  difference: Limits | null;
}

/** A body that was read: its header, and per pane all frames as float32, frame after frame. */
interface MapBody<Header> {
  header: Header;
  maps: Float32Array[];
}
type Stack = MapBody<StackHeader>;
type Heads = MapBody<HeadsHeader>;

interface SceneToken {
  index: number;
  text: string;
  label: string;
  role: "prompt" | "template" | "answer" | "end";
}
interface MatrixMeasure {
  values: (number | null)[][];
  texts: string[][];
  limits: Limits;
  label: string;
}
type MatrixName = "js" | "share" | "entropy" | "box_change" | "box_against" | "box";

/** What Python says of boxes: per variant and head (or "mean") one text per layer. */
interface BoxNumbers {
  boxes: Box[];
  notes: string[];
  about: string;
  of_maximum: string;
  numbers: Record<string, Record<"share" | "ratio" | "hit", Record<string, string[]>> & { change?: Record<string, string[]>; verdict?: Record<string, string[]> }>;
  /** Where any variant says a place, a sentence per variant: how many of its heads look inside, how many of its places lie there. */
  said: string[];
  matrix: Record<string, Partial<Record<MatrixName, MatrixMeasure>>>;
  heads: Record<string, { layer: number; head: number; text: string }[]>;
  top: Record<string, HeadSet | "">;
}

/** What changed against one variant; per other variant `rows` of tokens and layers, in bits. */
interface Changes {
  against: string;
  rows: Record<string, number[][]>;
  most: { token: number; layer: number; variant: string } | null;
}

/** What all heads do, of the tokens whose heads were recorded; what changed is against one variant. */
interface HeadChanges {
  against: string;
  matrix: Record<string, Partial<Record<MatrixName, MatrixMeasure>>>;
  /** Per other variant the heads with the largest divergence; "" where nothing changed. */
  top: Record<string, HeadSet | "">;
  /** Per variant the heads that look at the image most and at the fewest cells. */
  localizing: Record<string, HeadSet | "">;
}

/** What a variant wrote itself; of one that is not replayed its `words`, and which of them parts from the replayed ones. */
interface Answer {
  variant: string;
  text: string | null;
  replayed: boolean;
  words: string[];
  parts: number | null;
}

/** What a variant's marks look like: words for a legend, sides of the figure around a point, dashes of a box. */
interface SaidStyle {
  words: string;
  colour: string;
  sides: number;
  dash: [number, number];
}
/** The points and boxes that a variant says; `pixels` are (x, y) on the photo, of a box its two corners. */
interface SaidWords {
  adapter: string;
  own: boolean;
  replayed: boolean;
  places: { kind: "point" | "box"; key: string; label: string; numbers: { text: string; span: [number, number]; tokens: number[] }[]; unit: string; pixels: [number, number][]; on_photo: boolean }[];
  unread: { text: string; why: string }[];
  style: SaidStyle;
  line: string;
}

interface Scene {
  grid: [number, number];
  image_size: [number, number];
  photo: string;
  layers: number;
  heads: number;
  model: string;
  variants: string[];
  own: boolean;
  families: Record<string, [string, number]>;
  tokens: SceneToken[];
  /** Per variant its own tokens, where each replayed its own answer; else empty. */
  own_tokens: Record<string, SceneToken[]>;
  shares: Record<string, string[][]>;
  bars: Record<string, number[][]>;
  changed: Changes;
  /** null where it is asked for once the first picture stands. */
  head_changes: HeadChanges | null;
  answers: Answer[];
  said: SaidWords[];
  prompt: string;
  /** How many images the prompt has, and which of them this is, 0-based. */
  images: number;
  shown: number;
  /** What the model read before the last image, in runs of one role, token by token, an earlier image as one piece. */
  before: { role: "prompt" | "template" | "image"; pieces: string[] }[];
  warnings: string[];
  notes: string[];
  legend: string;
  views: string[];
  /** Per view whether single heads have it, what must have been recorded for it, and what larger values do more of. */
  view_kinds: Record<string, { heads: boolean; recorded: string; verb: string }>;
  /** Views that can be shown; the others must be recorded first. */
  recorded_views: string[];
  colormaps: string[];
  diverging: string[];
  tables: Record<string, string>;
  windows: number[];
  percentiles: number[];
  recorded: number[];
  /** The tokens that spell the digits of the answer's points and boxes, or, without any, all its digits. */
  digits: number[];
  /** The token that a card asks about while the digits, or no token of the answer, are looked at. */
  questioned: number;
  opening: Choice;
}

/** One way to ask a card's question, with its price in words. */
interface CardWay {
  options: Record<string, unknown>;
  label: string;
  price: string;
}
interface CardOffer {
  card: string;
  title: string;
  about: string;
  ways: CardWay[];
}
interface PictureOf<Kind> {
  kind: Kind;
  title: string;
  alt: string;
}
interface BarsPicture extends PictureOf<"bars"> {
  rows: { label: string; value: number; text: string }[];
  mark: { value: number; text: string } | null;
  low: number;
  high: number;
}
interface MarksPicture extends PictureOf<"marks"> {
  rows: { label: string; value: number; others: number[]; text: string }[];
  low: number;
  high: number;
}
interface CurvePicture extends PictureOf<"curve"> {
  across: string;
  points: { x: number; y: number; text: string }[];
  lines: { y: number; text: string }[];
  low: number;
  high: number;
}
interface MatrixPicture extends PictureOf<"matrix">, MatrixMeasure {
  within: boolean[][] | null;
}
interface CellsPicture extends PictureOf<"cells"> {
  grid: [number, number];
  cells: number[];
}
interface TablePicture extends PictureOf<"table"> {
  columns: string[];
  rows: string[][];
}
type FindingPicture = BarsPicture | MarksPicture | CurvePicture | MatrixPicture | CellsPicture | TablePicture;

/** One question's answer: its sentence, on what it was measured, and the picture behind it. */
interface Finding {
  card: string;
  title: string;
  about: string;
  token: number;
  first: string;
  second: string;
  /** Token and variants, in short. */
  of: string;
  sentence: string;
  measured: string;
  spent: string;
  details: string[];
  notes: string[];
  pictures: FindingPicture[];
  /** Of "heads" the order of each layer's heads by what they carry; of "chance" what is within it. */
  heads: { order?: number[][]; words?: string[][]; top?: HeadSet | ""; within?: boolean[][]; heads?: string[][]; layers?: string[] } | null;
  more: CardWay[];
}

/** What happens to a question that was asked about a result. */
interface CardNews {
  key: string;
  card: string;
  state: "busy" | "done" | "refused" | "stopped";
  sentence?: string;
  hint?: string;
  done?: number;
  of?: number;
  findings?: Finding[];
}

/** Where the numbers come from: the page's server, or the report's own file. */
interface Source {
  photo: string;
  /** The result that its numbers are of, whichever of its images is shown; without it, what is shown is all there is. */
  result?: string;
  stack(choice: Choice): Promise<ArrayBuffer>;
  heads?(choice: Choice, layer: number): Promise<ArrayBuffer>;
  /** What changed against the choice's variant. */
  changes?(choice: Choice): Promise<Changes>;
  /** The same of all heads; `recorded` are the tokens whose heads the scene has. */
  headChanges?(choice: Choice, recorded: number[]): Promise<HeadChanges>;
  /** The numbers in the choice's boxes; `recorded` as above. */
  box?(choice: Choice, recorded: number[]): Promise<BoxNumbers>;
  /** Whether nobody can be asked for another box: those of the choice that it opens on are all there are. */
  fixed?: boolean;
  /** Ask the model for the single heads of a token; the answer comes as `update`. */
  record?(token: TokenChoice): void;
  /** Replay another answer: words given here, or those that a variant wrote. */
  replay?(answer: { text: string } | { variant: string }): void;
  /** The questions on offer; without it those of `findings` are shown, and none can be asked. */
  cards?(): Promise<CardOffer[]>;
  /** Ask the model a card's question about what is looked at; what happens comes as `explained`. */
  explain?(question: { card: string; options: Record<string, unknown> }): void;
  stopExplaining?(): void;
  /** What was found before. */
  findings?: Finding[];
  /** Whether the choice is kept in the address. */
  address?: boolean;
}

interface Shown {
  key: string;
  choice?: Change;
  keep?: boolean;
}

interface Viewer {
  show(scene: Scene, source: Source, shown: Shown): void;
  update(scene: Scene, shown: { key: string; source?: Source }): void;
  choose(change: Change): void;
  choice(): Choice | null;
  on(listener: (choice: Choice) => void): void;
  explained(news: CardNews): void;
  busy(on: boolean): void;
  stale(on: boolean, words?: string): void;
  destroy(): void;
}

/** Which part of the photo a pane shows: `size` of its width and height from (left, top), as fractions. */
interface Part {
  left: number;
  top: number;
  size: number;
}

/** What is drawn now: a stack, the frame in it, and the choice that both belong to. */
interface Drawn {
  key: string;
  scene: Scene;
  choice: Choice;
  stack: Stack;
  frame: number;
}
