document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("blitz-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* as the system */ }
