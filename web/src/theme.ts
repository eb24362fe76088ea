/** Light or dark: as the system has it, until the visitor says otherwise. */

import { useLayoutEffect, useState } from "preact/hooks";

const SYSTEM = "(prefers-color-scheme: dark)";

export function useTheme(): [boolean, () => void] {
  const [system, follow] = useState(() => matchMedia(SYSTEM).matches);
  const [own, choose] = useState<boolean | null>(null);
  useLayoutEffect(() => {
    const query = matchMedia(SYSTEM);
    const heard = () => follow(query.matches);
    query.addEventListener("change", heard);
    return () => query.removeEventListener("change", heard);
  }, []);
  const dark = own ?? system;
  useLayoutEffect(() => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  }, [dark]);
  return [dark, () => choose(!dark)];
}
