// Sets the remembered theme before the first paint: a classic script, loaded in <head>.
// Without one the page follows the system, as style.css's `color-scheme` says.
try {
  const theme = localStorage.getItem('hlwq.theme');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the system's theme it is.
}
