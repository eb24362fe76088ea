/** Light or dark: as the system has it, until the visitor says otherwise. */

import { useEffect, useState } from "preact/hooks";

const SYSTEM = "(prefers-color-scheme: dark)";

export function useTheme(): [boolean, () => void] {
  const [system, follow] = useState(() => matchMedia(SYSTEM).matches);
  const [own, choose] = useState<boolean | null>(null);
  useEffect(() => {
    const query = matchMedia(SYSTEM);
    const heard = () => follow(query.matches);
    query.addEventListener("change", heard);
    return () => query.removeEventListener("change", heard);
  }, []);
  const dark = own ?? system;
  useEffect(() => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  }, [dark]);
  return [dark, () => choose(!dark)];
}
