"""Headless Chromium, driven by WebDriver."""

import os
import re
from base64 import b64decode

from harness import tool
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By

HEIGHT = 1000


def sheets(pdf):
    """The number of pages."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


class Browser(Chrome):
    """A browser with one window. Use it in a `with`."""

    def __init__(self, folder, javascript=True):
        options = ChromeOptions()
        options.binary_location = tool("chromium")
        options.add_argument("--headless=new")
        options.add_argument("--disable-gpu")
        options.add_argument("--hide-scrollbars")
        options.add_argument(f"--user-data-dir={folder}")
        if os.geteuid() == 0:
            # Chromium's own sandbox does not start for root.
            options.add_argument("--no-sandbox")
        if not javascript:
            content = {"profile.managed_default_content_settings.javascript": 2}
            options.add_experimental_option("prefs", content)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        super().__init__(options, ChromeService(tool("chromedriver")))
        self.get("data:text/html,<title>off</title><script>document.title = 'on'</script>")
        assert self.title == ("on" if javascript else "off")
        self.look(1280, "light")

    def look(self, width, scheme, height=HEIGHT):
        """Changes the window's size, and chooses light or dark."""
        self.devtools(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def devtools(self, command, **parameters):
        return self.execute_cdp_cmd(command, parameters)

    def screenshot(self):
        """The content of the window, as a PNG."""
        return b64decode(self.devtools("Page.captureScreenshot", format="png")["data"])

    def pdf(self):
        """The page on paper."""
        return b64decode(self.devtools("Page.printToPDF", preferCSSPageSize=True)["data"])

    def all(self, selector):
        return self.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        [element] = self.all(selector)
        return element

    def complaints(self):
        """New messages on the browser's console: errors, and violations of a content security policy."""
        return [entry["message"] for entry in self.get_log("browser")]
